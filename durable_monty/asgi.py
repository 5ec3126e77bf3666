"""Makes an ASGI application of the webhooks and the HTTP API alone.

Serve it with `uvicorn.run(create_app(service))`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any

import django
from django.core import signals
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.db import router
from django.http import HttpResponseBase
from django.urls import URLPattern, URLResolver, include, path, set_script_prefix

if TYPE_CHECKING:
    from durable_monty.service import OrchestratorService

_Message = Mapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]

_API = "api/"


def create_app(
    service: OrchestratorService | None = None, *, threads: int = 8, refusals: int | None = 600
) -> ASGIHandler:
    """Returns an ASGI application with the webhooks, and with the HTTP API under `/api/` if the
    extra `api` is installed.

    It has no other URLs, whatever ROOT_URLCONF is. The project's middleware runs.

    The answers of jobs are recorded in the database of `service`. The API uses the database that
    the project's routers name. It is left out if that is another one. `threads` answers are
    recorded at a time, each on a connection of its own. `durable_monty.webhooks.urls.patterns`
    describes `refusals`.
    """
    django.setup(set_prefix=False)
    return _Handler(_Urls(None if service is None else service.using, refusals), threads)


class _Urls:
    """Stands for a module of URLs. Django accepts it as `request.urlconf`."""

    def __init__(self, using: str | None, refusals: int | None) -> None:
        # Models can be imported only after `django.setup()`.
        from durable_monty.models import Execution
        from durable_monty.webhooks.urls import app_name, patterns

        hooks = patterns(using=using, refusals=refusals)
        self.urlpatterns: list[URLPattern | URLResolver] = [path("", include((hooks, app_name)))]
        if find_spec("ninja") and using in (None, router.db_for_write(Execution)):
            self.urlpatterns.append(path(_API, include("durable_monty.api.urls")))


class _Handler(ASGIHandler):
    """Handles requests of the API as Django does, and those of webhooks in a pool of threads.

    Django's own handler gives each request a new thread, and so a new connection to the database.
    With CONN_MAX_AGE these stay open until the database server has no more.
    """

    def __init__(self, urls: _Urls, threads: int) -> None:
        super().__init__()
        self.request_class = type("Request", (ASGIRequest,), {"urlconf": urls})
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="durable_monty-webhook")
        self._sync = BaseHandler()
        self._sync.load_middleware(is_async=False)

    async def __call__(self, scope: dict[str, Any], receive: _Receive, send: _Send) -> None:
        below = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or below.startswith(f"/{_API}"):
            await super().__call__(scope, receive, send)
            return
        body = await _read(scope, receive)
        if body is None:
            return
        loop = asyncio.get_running_loop()
        response = await loop.run_in_executor(self._threads, self._respond, scope, body)
        await self.send_response(response, send)

    def _respond(self, scope: dict[str, Any], body: bytes) -> HttpResponseBase:
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=type(self), scope=scope)
        request, refusal = self.create_request(scope, BytesIO(body))
        response = refusal if request is None else self._sync.get_response(request)
        assert response is not None  # noqa: S101  (one of the two is there)
        # This sends `request_finished`, on which Django closes old connections of this thread.
        response.close()
        return response


async def _read(scope: dict[str, Any], receive: _Receive) -> bytes | None:
    """Returns the body, or None if the client has disconnected.

    Of a body that is too large it returns only the beginning: the view refuses it.
    """
    from durable_monty.webhooks.bodies import is_too_long, max_body_bytes

    length = dict(scope["headers"]).get(b"content-length", b"").decode("latin1")
    most, body, more = max_body_bytes(), bytearray(), not is_too_long(length)
    while more and len(body) <= most:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)
