"""Tokens by which whoever has one, and nothing else, can answer one call.

A token is signed with SECRET_KEY, under a salt of its own. It holds for one attempt, or for one
call that waits for somebody. It ends with its time, or when the call is answered: then the journal
refuses other answers.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any

from django.core import signing
from django.db import router
from django.urls import NoReverseMatch, reverse

from durable_monty.exceptions import (
    CallNotFound,
    CallNotStarted,
    CallSettled,
    InvalidToken,
    TokenExpired,
)
from durable_monty.functions import MANUAL_EXECUTOR
from durable_monty.models import Call
from durable_monty.operations.job_answers import job_id_of

_SALT = "durable_monty.webhooks"
# Seconds.
_MONTH = 30 * 86_400.0
# A call's deadline is the database's time, and a token is read by the clock of a web server.
_SKEW = 60.0


@dataclass(frozen=True, slots=True)
class CallToken:
    """What a token says: either `job_id`, that of one attempt, or `execution_id` and `call_id`.

    `using`: the alias of the database; `expires`: Unix time in seconds.
    """

    using: str
    expires: int
    job_id: str = ""
    execution_id: str = ""
    call_id: int = 0


def make_token(job_id: str, using: str, seconds: float) -> str:
    """Returns a token for the attempt with this job, which holds for `seconds`."""
    return _signed(using, seconds, job_id)


def read_token(token: str) -> CallToken:
    """Raises `InvalidToken` and `TokenExpired`."""
    try:
        using, expires, *names = signing.Signer(salt=_SALT).unsign_object(token)
    except (signing.BadSignature, ValueError) as exc:
        raise InvalidToken from exc
    if time.time() >= expires:
        raise TokenExpired
    if len(names) == 1:
        return CallToken(using, expires, job_id=names[0])
    execution_id, call_id = names
    return CallToken(using, expires, execution_id=execution_id, call_id=call_id)


def call_url(call: Call, base_url: str, seconds: float | None = None) -> str:
    """Returns the URL at which one POST answers `call`.

    It holds for the attempt that has the call now. A call that waits for people has none: then it
    holds for the call. `base_url`: where the project can be reached, for example
    "https://shop.example.com"; if its URLs do not include `durable_monty.urls`, where
    `create_app` is served. `seconds`: how long it holds; by default until the call's time is
    over, or 30 days. Raises `CallNotStarted`.
    """
    using = call._state.db or router.db_for_write(Call)
    lasts = _seconds_left(call) if seconds is None else seconds
    if call.claim is not None:
        return _url(base_url, make_token(job_id_of(call), using, lasts))
    if call.executor != MANUAL_EXECUTOR:
        raise CallNotStarted(call.execution_id, call.call_id)
    return _url(base_url, _signed(using, lasts, str(call.execution_id), call.call_id))


def waiting_call_url(
    execution_id: str | uuid.UUID,
    call_id: int,
    base_url: str,
    seconds: float | None = None,
    *,
    using: str | None = None,
) -> str:
    """Returns the `call_url` of an open call by its ids, as `get_pending_calls` gives them.
    Raises `CallNotFound`, `CallSettled` and `CallNotStarted`."""
    calls = Call.objects.using(using or router.db_for_write(Call))
    try:
        call = calls.filter(execution_id=uuid.UUID(str(execution_id)), call_id=call_id).first()
    except ValueError as exc:
        raise CallNotFound(execution_id, call_id) from exc
    if call is None:
        raise CallNotFound(execution_id, call_id)
    if not call.is_open:
        raise CallSettled(call.execution_id, call.call_id, call.status, "answered at a URL")
    return call_url(call, base_url, seconds)


def _signed(using: str, seconds: float, *names: Any) -> str:
    return signing.Signer(salt=_SALT).sign_object([using, int(time.time() + seconds), *names])


def _seconds_left(call: Call) -> float:
    ends = [at for at in (call.attempt_end_by, call.close_by) if at is not None]
    return min(ends).timestamp() + _SKEW - time.time() if ends else _MONTH


def _url(base_url: str, token: str) -> str:
    try:
        path = reverse("durable_monty:call", args=[token])
    except NoReverseMatch:
        path = f"/call/{token}"
    return base_url.rstrip("/") + path
