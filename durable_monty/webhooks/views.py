"""The two addresses: one for each call, with a token, and one for all jobs, with a secret."""

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
# Seconds after which somebody may try again while the database is out of reach.
_PAUSE = 5


def endpoint(view: Callable[..., bool]) -> View:
    """A view that says whether something was recorded now, or raises the reason why not.

    `refusals`: see `count_refusal`.
    """

    @wraps(view)
    def answer(request: HttpRequest, *, refusals: int | None, **kwargs: Any) -> HttpResponse:
        response = _answer(request, refusals, kwargs)
        response["Cache-Control"] = "no-store"
        return response

    def _answer(
        request: HttpRequest, refusals: int | None, kwargs: dict[str, Any]
    ) -> HttpResponse:
        if request.method != "POST":
            response = error(405, "method_not_allowed", "Only POST is allowed here.")
            response["Allow"] = "POST"
            return response
        try:
            is_new = view(request, **kwargs)
        except (InvalidToken, InvalidSecret) as exc:
            return _unauthorized(request, refusals, exc)
        except DurableMontyError as exc:
            return refused(exc)
        except Error as exc:
            if not may_pass(exc):
                raise
            response = error(503, "database_unavailable", "Try again later.")
            response["Retry-After"] = str(_PAUSE)
            return response
        return JsonResponse({"status": "recorded", "already": not is_new})

    # A transaction around it would hide from the view whether the answer was recorded.
    for alias in connections:
        answer = transaction.non_atomic_requests(alias)(answer)
    return csrf_exempt(login_not_required(answer))


def _unauthorized(
    request: HttpRequest, refusals: int | None, exc: DurableMontyError
) -> HttpResponse:
    try:
        count_refusal(request, refusals)
    except DurableMontyError as too_many:
        return refused(too_many)
    return refused(exc)


@endpoint
def answer_call(request: HttpRequest, token: str) -> bool:
    """POST call/TOKEN."""
    read = read_token(token)
    if read.using not in connections:
        raise InvalidToken
    return record_under_token(read, read_posted(read_body(request)))


@endpoint
def complete_job(request: HttpRequest, using: str | None) -> bool:
    """POST webhook/complete."""
    signed = SIGNATURE in request.headers
    # Without a signature nothing is read for strangers.
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
