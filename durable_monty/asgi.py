"""An ASGI application of its own for answers and the API: `uvicorn.run(create_app(service))`."""

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
    """Returns an ASGI application with the webhook, and with the HTTP API under `/api/` if the
    extra `api` is installed. It has no other URLs, whatever ROOT_URLCONF is; the project's
    middleware runs.

    `service`: its database is that of the jobs. The API works on the database that the project's
    routers name, and is left out if that is another one. `threads`: how many answers are recorded
    at a time, each on a connection of its own. `refusals`: see
    `durable_monty.webhooks.urls.patterns`.
    """
    django.setup(set_prefix=False)
    return _Handler(_Urls(None if service is None else service.using, refusals), threads)


class _Urls:
    """What `request.urlconf` may be: it has `urlpatterns`, as a module has."""

    def __init__(self, using: str | None, refusals: int | None) -> None:
        # After `django.setup()`.
        from durable_monty.models import Execution
        from durable_monty.webhooks.urls import app_name, patterns

        usual = router.db_for_write(Execution)
        hooks = patterns(using=using, refusals=refusals)
        self.urlpatterns: list[URLPattern | URLResolver] = [path("", include((hooks, app_name)))]
        if find_spec("ninja") is not None and using in (None, usual):
            self.urlpatterns.append(path(_API, include("durable_monty.api.urls")))


class _Handler(ASGIHandler):
    """Handles the API as Django does, and answers in threads that live on.

    Django's own handler gives each request a thread, and so a connection to the database: with
    CONN_MAX_AGE they stay open, and the server runs out of them.
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
        # It sends `request_finished`, which looks after the connections of this thread.
        response.close()
        return response


async def _read(scope: dict[str, Any], receive: _Receive) -> bytes | None:
    """The body, or its beginning if the view refuses it for its size anyway; None if the client
    has gone."""
    from durable_monty.webhooks.bodies import is_too_long, longest

    length = dict(scope["headers"]).get(b"content-length", b"").decode("latin1")
    most, body, more = longest(), bytearray(), not is_too_long(length)
    while more and len(body) <= most:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)
