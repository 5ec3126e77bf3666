"""Turns errors into responses: a status, and `{"error": {"code", "message", ...}}`."""

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

# An error that is missing here has the status of its base class.
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

# Codes for errors of Django and django-ninja, which have no exception of this package.
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


def error_response(status: int, message: str, code: str = "", **facts: Any) -> JsonResponse:
    error = {"code": code or _CODES.get(status, "bad_request"), "message": message, **facts}
    return JsonResponse({"error": error}, status=status)


def add_handlers(api: NinjaAPI) -> None:
    handlers: dict[type[Exception], Any] = {
        exceptions.DurableMontyError: respond_to_error,
        ValidationError: respond_to_invalid_request,
        AuthenticationError: lambda request, _: respond_to_error(
            request, exceptions.NotAuthenticated()
        ),
        Throttled: respond_to_http_error,
        HttpError: respond_to_http_error,
        Http404: lambda _, exc: error_response(404, str(exc)),
        PermissionDenied: lambda _, exc: error_response(403, str(exc)),
        RequestDataTooBig: lambda _, exc: error_response(413, str(exc)),
        Error: respond_to_database_error,
        # Not a response: Django's own handlers and signals report it.
        Exception: reraise,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)


def respond_to_error(_: HttpRequest, exc: exceptions.DurableMontyError) -> HttpResponse:
    facts: dict[str, Any] = {}
    if isinstance(exc, exceptions.UnstorableValue | exceptions.InvalidValue):
        facts["path"] = exc.path
    if isinstance(exc, exceptions.WrongSource):
        facts["complaints"] = [
            {"line": each.line, "column": each.column, "rule": each.rule, "message": each.message}
            for each in exc.complaints
        ]
    status = status_of(exc)
    response = error_response(status, str(exc), code_of(exc), **facts)
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def respond_to_invalid_request(_: HttpRequest, exc: ValidationError) -> HttpResponse:
    first = exc.errors[0]
    place = first["loc"]
    # ("body", "given", "reason"): callers do not know the name of the view's parameter.
    skipped = 2 if place[0] == "body" and len(place) > 2 else 1
    path = ".".join(map(str, place[skipped:] or place))
    return error_response(422, f"{path}: {first['msg']}", path=path)


def respond_to_http_error(request: HttpRequest, exc: HttpError) -> HttpResponse:
    # django-ninja wraps what the parser raises.
    cause = exc.__cause__
    if isinstance(cause, exceptions.DurableMontyError):
        return respond_to_error(request, cause)
    return error_response(exc.status_code, str(exc))


def respond_to_database_error(_: HttpRequest, exc: Error) -> HttpResponse:
    if not may_pass(exc):
        raise exc
    response = error_response(503, "The database cannot be reached now. Try again later.")
    response["Retry-After"] = "5"
    return response


def reraise(_: HttpRequest, exc: Exception) -> HttpResponse:
    raise exc
