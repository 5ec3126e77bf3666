"""Views of Django, served to a real client; what the hidden blocks of the documents need."""

import shutil
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from socketserver import ThreadingMixIn
from tempfile import TemporaryDirectory
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.core.handlers.wsgi import WSGIRequest
from django.db import connections

from durable_monty import FUNCTION_REGISTRY, OrchestratorService, Worker
from durable_monty.webhooks import views
from tests.engines.brokers import redis_server
from tests.processes import Program


class _Server(ThreadingMixIn, WSGIServer):
    """Waits at its end until all have their responses."""

    daemon_threads = False


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args): ...


@contextmanager
def serve_view(view):
    """Serves one view of Django, and gives its URL."""

    def application(environ, start_response):
        try:
            response = view(WSGIRequest(environ))
        finally:
            connections.close_all()
        status = f"{response.status_code} {response.reason_phrase}"
        start_response(status, list(response.items()))
        return [response.content]

    with make_server("127.0.0.1", 0, application, _Server, _Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def answer_call(request):
    """The view of the webhook."""
    token = request.path.rpartition("/")[2]
    return views.answer_call(request, token=token, refusals=None)


def work_with_http(url, secret, *, function):
    """Lets a worker run what is due, with the URL in place of the function's own. False without
    the extra."""
    if find_spec("httpcore") is None:
        return False
    from durable_monty.executors.http import HttpExecutor

    FUNCTION_REGISTRY.add(replace(FUNCTION_REGISTRY[function], url=url))
    executor = HttpExecutor(
        allowed_hosts=[url.partition("://")[2]],
        allow_http=True,
        allow_private=True,
        secret=secret,
    )
    return Worker(OrchestratorService(), executor).run(until_complete=True)


def work_with_rq(module):
    """Lets a worker run what is due, and an RQ worker without Django the functions of a module.
    False without the extra or a Redis."""
    if find_spec("rq") is None or shutil.which("redis-server") is None:
        return False
    from durable_monty.executors.rq import RQExecutor

    with TemporaryDirectory() as folder, redis_server(Path(folder) / "redis") as redis:
        place = Path(module.__file__).parent.parent
        worker = Program(
            Path(folder) / "rq.log",
            *(Path(sys.executable).with_name("rq"), "worker", "pricing", "--serializer", "json"),
            *("--url", redis.url, "--path", place),
            env={"DJANGO_SETTINGS_MODULE": ""},
        )
        try:
            executor = RQExecutor("pricing", redis.url, mode="result")
            return Worker(OrchestratorService(), executor).run(until_complete=True)
        finally:
            worker.end()
