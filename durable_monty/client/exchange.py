"""Decides when a request is sent again, and reads the response. It does no I/O itself."""

from __future__ import annotations

import json
import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from durable_monty import exceptions
from durable_monty.client.answers import Complaint, read_all
from durable_monty.client.requests import Request
from durable_monty.exceptions import ApiUnreachable, DurableMontyError, RequestRefused

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_RETRY_AFTER = 0.2, 5.0, 30.0  # seconds
_LATER = (429, 503)  # with these the server asks for another attempt


class Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Broken(NamedTuple):
    """Stands for a missing response. With `was_sent`, the server may have the request."""

    why: str
    was_sent: bool


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


Step = Request[Any] | Pause


def exchange(request: Request[T], retries: int) -> Generator[Step, Response | Broken | None, T]:
    """Yields requests to send and pauses to make, and takes the outcomes. Returns the answer.

    Raises the error that the server names, or `ApiUnreachable`.
    """
    outcome: Response | Broken | None = None
    for attempt in range(retries + 1):
        outcome = yield request
        if isinstance(outcome, Response) and outcome.status < 400:
            try:
                return request.read(json.loads(outcome.body))
            except ValueError as exc:
                raise _not_the_api(outcome) from exc
        if attempt == retries or not _may_repeat(request, outcome):
            break
        retry_after = ""
        if isinstance(outcome, Response):
            retry_after = outcome.headers.get("retry-after", "")
        if retry_after.isdecimal():
            yield Pause(min(float(retry_after), _LONGEST_RETRY_AFTER))
        else:
            # Clients that were refused together must not come back together.
            longest = min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)
            yield Pause(longest * random.uniform(0.5, 1))
    if isinstance(outcome, Response):
        raise error_of(outcome)
    raise ApiUnreachable(request.path, outcome.why if outcome else "")


def error_of(response: Response) -> DurableMontyError:
    """Returns the exception of this package that a response names, with the server's message.

    It has `http_status`, `code` and the facts of the response (`path`, `complaints`).
    """
    try:
        facts = dict(json.loads(response.body)["error"])
        code, message = str(facts.pop("code")), str(facts.pop("message"))
    except (ValueError, LookupError, TypeError):
        return _not_the_api(response)
    return named(response.status, code, message, facts)


def named(status: int, code: str, message: str, facts: Mapping[str, Any]) -> DurableMontyError:
    """Returns the exception that `code` names, or `RequestRefused` for an unknown code."""
    name = "".join(part.capitalize() for part in code.split("_"))
    kind = getattr(exceptions, name, None)
    if not (isinstance(kind, type) and issubclass(kind, DurableMontyError)):
        return RequestRefused(status, code, message)
    # The constructor makes the message of facts that the server does not send.
    exc: DurableMontyError = kind.__new__(kind)
    Exception.__init__(exc, message)
    if facts.get("complaints") is not None:
        facts = {**facts, "complaints": tuple(read_all(Complaint, facts["complaints"]))}
    vars(exc).update({**facts, "http_status": status, "code": code})
    return exc


def _may_repeat(request: Request[Any], outcome: Response | Broken | None) -> bool:
    if outcome is None or isinstance(outcome, Broken):
        return request.may_repeat or not (outcome and outcome.was_sent)
    # 429 is sent before the request has any effect; 503 may come after it.
    return outcome.status == 429 or (request.may_repeat and outcome.status in _LATER)


def _not_the_api(response: Response) -> RequestRefused:
    text = response.body[:200].decode(errors="replace")
    return RequestRefused(response.status, "not_the_api", text)
