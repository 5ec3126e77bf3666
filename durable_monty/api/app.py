"""Puts the API together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.urls import URLPattern, URLResolver
from ninja import NinjaAPI
from ninja.throttling import BaseThrottle

import durable_monty
from durable_monty.api import calls, events, executions, functions, health, verbs
from durable_monty.api.auth import KeyAuth, SessionAuth
from durable_monty.api.bodies import StrictParser, check_body
from durable_monty.api.errors import add_handlers, refused

NAMESPACE = "durable_monty_api"


class DurableAPI(NinjaAPI):
    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:
        # What an operation asks of its API first, once the caller is known.
        check_body(request)
        return super().create_temporal_response(request)

    def get_openapi_operation_id(self, operation: Any) -> str:
        return str(operation.view_func.__name__)

    @property
    def urls(self) -> tuple[list[URLResolver | URLPattern], str, str]:
        patterns, app_name, namespace = super().urls
        for pattern in patterns:
            if isinstance(pattern, URLPattern):
                pattern.callback = _told(pattern.callback)
        return patterns, app_name, namespace


def make_api(
    *,
    auth: Sequence[Callable[[HttpRequest], Any]] | None = None,
    throttle: Sequence[BaseThrottle] = (),
    docs_url: str | None = None,
    urls_namespace: str = NAMESPACE,
) -> NinjaAPI:
    """Returns the API; `path("api/", make_api().urls)` mounts it.

    `auth`: classes of django-ninja, asked one after another, instead of keys and sessions. Each
    gives a user, whose permissions hold, a `Caller`, or None. `throttle`: its throttles.
    `docs_url`: where its pages about the API are; they load scripts from elsewhere.
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
    # "executions/events" stands before "executions/{execution_id}".
    for room in (events, executions, calls, verbs, functions, health):
        api.add_router("", room.router)
    return api


def _told(view: Callable[..., Any]) -> Callable[..., Any]:
    """A method that is not allowed is an error as others are."""
    if inspect.iscoroutinefunction(view):

        @wraps(view)
        async def tell_later(*args: Any, **kwargs: Any) -> HttpResponseBase:
            return _as_error(await view(*args, **kwargs))

        return tell_later

    @wraps(view)
    def tell(*args: Any, **kwargs: Any) -> HttpResponseBase:
        return _as_error(view(*args, **kwargs))

    return tell


def _as_error(response: HttpResponseBase) -> HttpResponseBase:
    if not isinstance(response, HttpResponseNotAllowed):
        return response
    told = refused(405, f"Only {response['Allow']} is allowed here.")
    told["Allow"] = response["Allow"]
    return told
