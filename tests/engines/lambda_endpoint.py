"""A Lambda endpoint: in front its Invoke API, behind it the Runtime API, both as AWS documents
them, and AWS's own runtime (awslambdaric) in processes that run `lambda_handler`. Run as a
program, with the number of these processes and the time-out of a function in seconds.

It does what the service does: it invokes synchronously or as an event, throttles what it has no
process for (429), and ends what takes longer than the time-out.
"""

import itertools
import json
import os
import queue
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# The name of the one function; it has as many others that begin like this.
FUNCTION = "durable-tests"
_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations(?:\?Qualifier=(\w+))?")
_ids = itertools.count(1)


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args): ...

    def body(self):
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100

    def __init__(self, port, handler):
        super().__init__(("127.0.0.1", port), handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that has gone away is no error of the server's."""


class Runtime:
    """A process of AWS's runtime, and the API that it asks for events."""

    def __init__(self, idle, timeout):
        self.idle, self.timeout = idle, timeout
        self.events, self.answers = queue.SimpleQueue(), queue.SimpleQueue()
        self.api = Server(0, type("Api", (RuntimeApi,), {"runtime": self}))
        self.start()

    def start(self):
        env = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO")}
        env |= {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.api.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": FUNCTION,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "LAMBDA_TASK_ROOT": str(Path.cwd()),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", "tests.engines.lambda_handler.handle"], env=env
        )

    def run(self, event):
        """What the runtime posts: "response" or "error", and the payload."""
        self.events.put((f"invocation-{next(_ids)}", event))
        try:
            return self.answers.get(timeout=self.timeout)
        except queue.Empty:
            self.process.kill()
            self.process.wait()
            self.start()
            message = f"RequestId: 1 Error: Task timed out after {self.timeout}.00 seconds"
            error = {"errorType": "Sandbox.Timedout", "errorMessage": message}
            return "error", json.dumps(error).encode()


class RuntimeApi(Quiet):
    def do_GET(self):
        assert self.path == "/2018-06-01/runtime/invocation/next", self.path
        self.runtime.idle.put(self.runtime)
        number, event = self.runtime.events.get()
        self.answer(
            200,
            event,
            Content_Type="application/json",
            Lambda_Runtime_Aws_Request_Id=number,
            Lambda_Runtime_Deadline_Ms="4000000000000",
            Lambda_Runtime_Invoked_Function_Arn=f"arn:aws:lambda:eu-central-1:1:function:{FUNCTION}",
        )

    def do_POST(self):
        self.runtime.answers.put((self.path.rpartition("/")[2], self.body()))
        self.answer(202)


class InvokeApi(Quiet):
    def do_POST(self):
        event, match = self.body(), _INVOKE.fullmatch(self.path)
        name, qualifier = match.groups()
        is_known = name == FUNCTION or name.startswith(f"{FUNCTION}-")
        if not is_known or qualifier not in (None, "live"):
            self.refuse(404, "ResourceNotFoundException", f"Function not found: {name}")
            return
        try:
            runtime = self.server.idle.get_nowait()
        except queue.Empty:
            self.refuse(429, "TooManyRequestsException", "Rate Exceeded.")
            return
        if self.headers["X-Amz-Invocation-Type"] == "Event":
            threading.Thread(target=runtime.run, args=(event,), daemon=True).start()
            self.answer(202)
            return
        kind, payload = runtime.run(event)
        error = {"X_Amz_Function_Error": "Unhandled"} if kind == "error" else {}
        self.answer(200, payload, **error)

    def refuse(self, status, kind, message):
        body = json.dumps({"Type": "User", "Message": message}).encode()
        self.answer(status, body, X_Amzn_ErrorType=kind, Content_Type="application/json")


def main():
    idle = queue.SimpleQueue()
    count, timeout = map(int, sys.argv[1:])
    runtimes = [Runtime(idle, timeout) for _ in range(count)]
    server = Server(0, InvokeApi)
    server.idle = idle
    while idle.qsize() < len(runtimes):
        threading.Event().wait(0.02)
    print("listening at", server.server_port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
