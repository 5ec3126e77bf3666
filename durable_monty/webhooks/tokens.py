"""Makes and reads the tokens of calls. Whoever has a token can answer its call, and nothing else.

A token is signed with SECRET_KEY, under a salt of its own. It is valid for one attempt, or for one
call that waits for a person. It expires after a time. Once the call is answered, the journal
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
_MONTH = 30 * 86_400.0  # seconds
# Seconds. A call's deadline follows the clock of the database, a token that of a web server.
_SKEW = 60.0


@dataclass(frozen=True, slots=True)
class CallToken:
    """Names an attempt by `job_id`, or a call by `execution_id` and `call_id`.

    `using` is the alias of the database, `expires` the Unix time in seconds.
    """

    using: str
    expires: int
    job_id: str = ""
    execution_id: str = ""
    call_id: int = 0


def make_token(job_id: str, using: str, seconds: float) -> str:
    """Returns a token for the attempt with this job. It expires after `seconds`."""
    return _signed(using, seconds, job_id)


def read_token(token: str) -> CallToken:
    """Returns the contents of a token. Raises `InvalidToken` and `TokenExpired`."""
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
    """Returns the URL that answers `call` with one POST request.

    The URL is valid for the attempt that runs now, or, for a call that waits for a person, for the
    call. Raises `CallNotStarted` for other calls.

    `base_url` is the address of the project, for example "https://shop.example.com". If its URLs
    do not include `durable_monty.urls`, it is the address of `create_app`. The URL expires after
    `seconds`, by default at the deadline of the call, or after 30 days.
    """
    using = call._state.db or router.db_for_write(Call)
    if seconds is None:
        ends = [at for at in (call.attempt_end_by, call.close_by) if at is not None]
        seconds = min(ends).timestamp() + _SKEW - time.time() if ends else _MONTH
    if call.claim is not None:
        token = make_token(job_id_of(call), using, seconds)
    elif call.executor == MANUAL_EXECUTOR:
        token = _signed(using, seconds, str(call.execution_id), call.call_id)
    else:
        raise CallNotStarted(call.execution_id, call.call_id)
    try:
        path = reverse("durable_monty:call", args=[token])
    except NoReverseMatch:
        path = f"/call/{token}"
    return base_url.rstrip("/") + path


def waiting_call_url(
    execution_id: str | uuid.UUID,
    call_id: int,
    base_url: str,
    seconds: float | None = None,
    *,
    using: str | None = None,
) -> str:
    """Returns the `call_url` of an open call. `get_pending_calls` gives the ids.

    Raises `CallNotFound`, `CallSettled` and `CallNotStarted`.
    """
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
