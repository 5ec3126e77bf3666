"""Assembles the API, and checks the bodies of its requests."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.urls import URLPattern, URLResolver
from ninja import NinjaAPI
from ninja.parser import Parser
from ninja.throttling import BaseThrottle

import durable_monty
from durable_monty import conf
from durable_monty.api import calls, events, executions, functions, health, verbs
from durable_monty.api.callers import KeyAuth, SessionAuth
from durable_monty.api.errors import add_handlers, error_response
from durable_monty.exceptions import BodyTooLarge, WrongContentType
from durable_monty.strict_json import load_body

NAMESPACE = "durable_monty_api"
# Bytes for all other fields of a request.
_MARGIN = 64 * 1024
_UTF_8 = {"", "utf-8", "utf8", "us-ascii"}


class DurableAPI(NinjaAPI):
    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:
        # django-ninja calls this after authentication and before it parses the body.
        check_body(request)
        return super().create_temporal_response(request)

    def get_openapi_operation_id(self, operation: Any) -> str:
        return str(operation.view_func.__name__)

    @property
    def urls(self) -> tuple[list[URLResolver | URLPattern], str, str]:
        patterns, app_name, namespace = super().urls
        for pattern in patterns:
            if isinstance(pattern, URLPattern):
                pattern.callback = _with_json_405(pattern.callback)
        return patterns, app_name, namespace


def make_api(
    *,
    auth: Sequence[Callable[[HttpRequest], Any]] | None = None,
    throttle: Sequence[BaseThrottle] = (),
    docs_url: str | None = None,
    urls_namespace: str = NAMESPACE,
) -> NinjaAPI:
    """Returns the API. Mount it with `path("api/", make_api().urls)`.

    `auth` replaces keys and sessions by other authentication of django-ninja, tried in order. Each
    returns None, a `Caller`, or a user, whose permissions apply. `throttle` takes throttles of
    django-ninja. `docs_url` is the path of its documentation pages, which load scripts from a CDN.
    """
    api = DurableAPI(
        title="durable_monty",
        version=durable_monty.__version__,
        description="Durable executions: start them, look at them, answer their calls.",
        auth=[KeyAuth(), SessionAuth()] if auth is None else list(auth),
        throttle=list(throttle),
        docs_url=docs_url,
        urls_namespace=urls_namespace,
        parser=StrictParser(),
    )
    add_handlers(api)
    # The first match wins: "executions/events" before "executions/{execution_id}".
    for module in (events, executions, calls, verbs, functions, health):
        api.add_router("", module.router)
    return api


def check_body(request: HttpRequest) -> None:
    """Raises `WrongContentType` and `BodyTooLarge` before anything is parsed."""
    if request.method not in ("POST", "PUT", "PATCH"):
        return
    settings = conf.current()
    limit = settings.MAX_SOURCE_BYTES + settings.MAX_VALUE_BYTES + _MARGIN
    # Too many bytes are refused before they are read; a chunked body only after.
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    if length > limit:
        raise BodyTooLarge(limit)
    if not length and "Transfer-Encoding" not in request.headers:
        return
    charset = (request.content_params or {}).get("charset", "").lower()
    if request.content_type != "application/json" or charset not in _UTF_8:
        raise WrongContentType(request.META.get("CONTENT_TYPE", ""))
    if len(request.body) > limit:
        raise BodyTooLarge(limit)


class StrictParser(Parser):
    """Parses strict JSON, without NaN and infinite numbers, which the journal cannot keep."""

    def parse_body(self, request: HttpRequest) -> Any:
        return load_body(request.body)


def _with_json_405(view: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a method that is not allowed an error of the API. django-ninja answers in HTML."""
    if inspect.iscoroutinefunction(view):

        @wraps(view)
        async def async_view(*args: Any, **kwargs: Any) -> HttpResponseBase:
            return _as_json(await view(*args, **kwargs))

        return async_view

    @wraps(view)
    def sync_view(*args: Any, **kwargs: Any) -> HttpResponseBase:
        return _as_json(view(*args, **kwargs))

    return sync_view


def _as_json(response: HttpResponseBase) -> HttpResponseBase:
    if not isinstance(response, HttpResponseNotAllowed):
        return response
    json_response = error_response(405, f"Only {response['Allow']} is allowed here.")
    json_response["Allow"] = response["Allow"]
    return json_response
