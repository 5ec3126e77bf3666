"""A service as a stranger may write one, without Django: it answers POSTs with the functions of
`tests.engines.functions`. Run as a program, with its port and its secret; port 0 finds one.

Below `/later/` it answers 202, and calls back when the function has ended.
"""

import json
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from durable_monty.executors.signing import InvalidSignature, verify
from tests.engines import functions

OTHER_NAMES = {"overrun_soon": "overrun", "overrun_long": "overrun"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            verify(body, self.headers, self.server.secret)
        except InvalidSignature as exc:
            self.answer(401, error("InvalidSignature", str(exc)))
            return
        call = json.loads(body)
        assert self.headers["Idempotency-Key"] == call["idempotency_key"]
        name = self.path.rpartition("/")[2]
        function = getattr(functions, OTHER_NAMES.get(name, name), None)
        if function is None:
            self.answer(404, error("LookupError", f"{call['function']}() is unknown here"))
        elif self.path.startswith("/later/"):
            self.answer(202, {})
            threading.Thread(target=call_back, args=(call, function)).start()
        else:
            self.answer(*outcome(call, function))

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        print(self.requestline, code, flush=True)


def outcome(call, function):
    """The status and the document of a function's answer."""
    try:
        result = function(*call["args"], **call["kwargs"])
    except Exception as exc:
        return 500, error(type(exc).__name__, str(exc), traceback.format_exc())
    try:
        json.dumps(result)
    except TypeError as exc:
        message = f"{call['function']}() returned what cannot be stored: {exc}"
        return 500, error("TypeError", message)
    return 200, {"result": result}


def error(kind, message, trace=""):
    return {"error": {"type": kind, "message": message, "traceback": trace}}


def call_back(call, function):
    status, document = outcome(call, function)
    try:
        post(call, "finished" if status == 200 else "failed", document)
    except HTTPError as exc:
        if exc.code in (413, 422):
            why = f"{call['function']}() returned what cannot be stored: {exc.read().decode()}"
            post(call, "failed", error("TypeError", why))


def post(call, status, document):
    """To the URL of the call, which has been told."""
    answer = {"job_id": call["job_id"], "status": status, **document}
    headers = {"Content-Type": "application/json"}
    request = Request(call["callback_url"], json.dumps(answer).encode(), headers, method="POST")
    with urlopen(request, timeout=10):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100

    def handle_error(self, request, client_address):
        """A client that has gone away is no error of the server's."""


def main():
    port, secret = sys.argv[1:]
    server = Server(("127.0.0.1", int(port)), Handler)
    server.secret = secret
    print("listening at", server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
