"""What each error is over HTTP: its status, its code, and `{"error": {"code", "message"}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, Throttled, ValidationError

from durable_monty import exceptions
from durable_monty.operations.transactions import may_pass

# An error that is not here has the status of the class that it derives from.
STATUS: Mapping[type[exceptions.DurableMontyError], int] = {
    exceptions.DurableMontyError: 500,
    exceptions.BodyNotJson: 400,
    exceptions.InvalidCursor: 400,
    exceptions.WrongCursor: 400,
    exceptions.NotAuthenticated: 401,
    exceptions.InvalidKey: 401,
    exceptions.CsrfRefused: 403,
    exceptions.NotPermitted: 403,
    exceptions.FunctionNotPermitted: 403,
    exceptions.ExecutionNotFound: 404,
    exceptions.CallNotFound: 404,
    exceptions.JobNotFound: 404,
    exceptions.KeyConflict: 409,
    exceptions.ExecutionNotCompleted: 409,
    exceptions.IllegalTransition: 409,
    exceptions.BodyTooLarge: 413,
    exceptions.WrongContentType: 415,
    exceptions.FunctionError: 422,
    exceptions.InvalidDuration: 422,
    exceptions.InvalidValue: 422,
    exceptions.InvalidWorkflow: 422,
    exceptions.ReplayMismatch: 422,
    exceptions.UnstorableValue: 422,
    exceptions.DatabaseNotMigrated: 503,
    exceptions.ExecutorUnavailable: 503,
    exceptions.HostFault: 503,
    exceptions.NoWorkerAlive: 503,
    exceptions.WaitTimeout: 504,
}

# Errors of Django and of django-ninja, which have no class of ours.
_CODES = {
    400: "bad_request",
    401: "not_authenticated",
    403: "not_permitted",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    422: "invalid_request",
    429: "too_many_requests",
    503: "database_unavailable",
}


def status_of(exc: exceptions.DurableMontyError) -> int:
    return next(STATUS[kind] for kind in type(exc).__mro__ if kind in STATUS)


def code_of(exc: exceptions.DurableMontyError) -> str:
    return exceptions.code_of(type(exc))


def add_handlers(api: NinjaAPI) -> None:
    handlers: dict[type[Exception], Any] = {
        exceptions.DurableMontyError: _durable,
        ValidationError: _invalid,
        AuthenticationError: _anonymous,
        Throttled: _http,
        HttpError: _http,
        Http404: lambda request, exc: refused(404, str(exc)),
        PermissionDenied: lambda request, exc: refused(403, str(exc)),
        RequestDataTooBig: lambda request, exc: refused(413, str(exc)),
        Error: _database,
        Exception: _unexpected,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)


def refused(status: int, message: str, code: str = "", **facts: Any) -> JsonResponse:
    error = {"code": code or _CODES.get(status, "bad_request"), "message": message, **facts}
    return JsonResponse({"error": error}, status=status)


def _durable(request: HttpRequest, exc: exceptions.DurableMontyError) -> HttpResponse:
    facts: dict[str, Any] = {}
    if isinstance(exc, exceptions.UnstorableValue | exceptions.InvalidValue):
        facts["path"] = exc.path
    if isinstance(exc, exceptions.WrongSource):
        facts["complaints"] = [
            {"line": each.line, "column": each.column, "rule": each.rule, "message": each.message}
            for each in exc.complaints
        ]
    status = status_of(exc)
    response = refused(status, str(exc), code_of(exc), **facts)
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def _anonymous(request: HttpRequest, exc: AuthenticationError) -> HttpResponse:
    return _durable(request, exceptions.NotAuthenticated())


def _invalid(request: HttpRequest, exc: ValidationError) -> HttpResponse:
    first = exc.errors[0]
    path = ".".join(map(str, _without_model(first["loc"])))
    return refused(422, f"{path}: {first['msg']}", path=path)


def _without_model(place: tuple[Any, ...]) -> tuple[Any, ...]:
    """`("body", "given", "reason")` has the name of the view's parameter, which says nothing."""
    return place[2:] if place[0] == "body" and len(place) > 2 else place[1:] or place


def _http(request: HttpRequest, exc: HttpError) -> HttpResponse:
    cause = exc.__cause__
    if isinstance(cause, exceptions.DurableMontyError):
        return _durable(request, cause)
    return refused(exc.status_code, str(exc))


def _database(request: HttpRequest, exc: Error) -> HttpResponse:
    if not may_pass(exc):
        raise exc
    response = refused(503, "The database cannot be reached now. Try again later.")
    response["Retry-After"] = "5"
    return response


def _unexpected(request: HttpRequest, exc: Exception) -> HttpResponse:
    """Leaves it to Django, whose handlers and signals report it."""
    raise exc
