"""A server that answers as a test says, byte by byte: what a stranger's server may do."""

import socket
import threading
import time
from contextlib import suppress


class Scripted:
    """Hands each connection to `script(connection, number)`, in a thread. `requests`: what came,
    as bytes."""

    def __init__(self, script, ssl_context=None):
        self.script, self.ssl_context = script, ssl_context
        self.requests = []
        self.running = self.most = 0
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        scheme = "http" if ssl_context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                connection, _address = self._listening.accept()
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            with suppress(OSError):
                if self.ssl_context is not None:
                    connection = self.ssl_context.wrap_socket(connection, server_side=True)
                connection.settimeout(20)
                self.requests.append(received(connection))
                self.script(connection, len(self.requests))
        finally:
            with self._lock:
                self.running -= 1
            connection.close()

    def close(self):
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def received(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += _some(connection)
    return head + b"\r\n\r\n" + body


def _some(connection):
    data = connection.recv(65536)
    if not data:
        raise OSError("the client has gone away")
    return data


def response(status, body=b"", *headers, content_type="application/json"):
    """The bytes of a response."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def saying(*answers):
    """A script: the n-th connection gets the n-th of these, the last one again and again."""

    def script(connection, number):
        connection.sendall(answers[min(number, len(answers)) - 1])

    return script


def trickle(connection, data, pause=0.05):
    """Sends a byte now and then, until the client has gone away."""
    for byte in data:
        connection.sendall(bytes([byte]))
        time.sleep(pause)
