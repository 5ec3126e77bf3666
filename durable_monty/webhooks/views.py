"""Serves two addresses: one for each call, with a token, and one for all jobs, with a secret."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import Error, connections, router, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from durable_monty.exceptions import (
    DurableMontyError,
    InvalidSecret,
    InvalidToken,
    InvalidValue,
    TooManyRefusals,
)
from durable_monty.executors.signing import SIGNATURE
from durable_monty.models import Call
from durable_monty.operations.transactions import may_pass
from durable_monty.webhooks.bodies import read_body, read_posted
from durable_monty.webhooks.recording import record_job, record_under_token
from durable_monty.webhooks.refusals import count_refusal, error, refused
from durable_monty.webhooks.secrets import executors_of_bearer, executors_of_signature
from durable_monty.webhooks.tokens import read_token

View = Callable[..., HttpResponse]
# Seconds after which a sender should try again while the database is out of reach.
_RETRY_AFTER = 5


def endpoint(view: Callable[..., bool]) -> View:
    """Makes a view of a function that returns whether it recorded something new, and raises the
    reason if it refuses. `refusals` of the view is the limit of `count_refusal`."""

    @wraps(view)
    def answer(request: HttpRequest, *, refusals: int | None, **kwargs: Any) -> HttpResponse:
        response = respond(request, refusals, kwargs)
        response["Cache-Control"] = "no-store"
        return response

    def respond(
        request: HttpRequest, refusals: int | None, kwargs: dict[str, Any]
    ) -> HttpResponse:
        if request.method != "POST":
            response = error(405, "method_not_allowed", "Only POST is allowed here.")
            response["Allow"] = "POST"
            return response
        try:
            is_new = view(request, **kwargs)
        except DurableMontyError as exc:
            if isinstance(exc, InvalidToken | InvalidSecret):
                try:
                    count_refusal(request, refusals)
                except TooManyRefusals as too_many:
                    return refused(too_many)
            return refused(exc)
        except Error as exc:
            if not may_pass(exc):
                raise
            response = error(503, "database_unavailable", "Try again later.")
            response["Retry-After"] = str(_RETRY_AFTER)
            return response
        return JsonResponse({"status": "recorded", "already": not is_new})

    # ATOMIC_REQUESTS would open a transaction around the view, which could not know then whether
    # the answer is recorded.
    for alias in connections:
        answer = transaction.non_atomic_requests(alias)(answer)
    return csrf_exempt(login_not_required(answer))


@endpoint
def answer_call(request: HttpRequest, token: str) -> bool:
    """Records the answer of the call that the token is for: POST call/TOKEN."""
    read = read_token(token)
    if read.using not in connections:
        raise InvalidToken
    return record_under_token(read, read_posted(read_body(request)))


@endpoint
def complete_job(request: HttpRequest, using: str | None) -> bool:
    """Records the answer of a job that the body names: POST webhook/complete."""
    signed = SIGNATURE in request.headers
    # A secret is checked before the body is read; a signature needs the body.
    authorization = request.headers.get("Authorization", "")
    executors = frozenset[str]() if signed else executors_of_bearer(authorization)
    body = read_body(request)
    if signed:
        executors = executors_of_signature(body, request.headers)
    posted = read_posted(body)
    if not posted.job_id:
        raise InvalidValue("job_id", "is missing")
    return record_job(
        posted.job_id,
        posted.answer,
        using=using or router.db_for_write(Call),
        executors=executors,
    )
