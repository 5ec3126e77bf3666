"""How a request is sent until there is an answer: the same for both clients, without any I/O."""

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

_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_ASKED = 0.2, 5.0, 30.0  # seconds
_LATER = (429, 503)  # the server asks for another try


class Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Broken(NamedTuple):
    """No response came. `was_sent`: the server may have got the request."""

    why: str
    was_sent: bool


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


Step = Request[Any] | Pause


def exchange(request: Request[T], retries: int) -> Generator[Step, Response | Broken | None, T]:
    """Yields what to send and how long to pause, takes what came back, and returns the answer.

    Raises the error that the server names, and `ApiUnreachable`.
    """
    for tried in range(retries + 1):
        outcome = yield request
        if isinstance(outcome, Response) and outcome.status < 400:
            return request.read(_json(outcome))
        if tried == retries or not _is_worth_another(request, outcome):
            break
        yield Pause(_pause(tried, outcome))
    if isinstance(outcome, Response):
        raise error_of(outcome)
    raise ApiUnreachable(request.path, outcome.why if outcome else "")


def error_of(response: Response) -> DurableMontyError:
    """The error of the package that the server raised; its message is the server's. It has
    `status`, `code`, and the facts that came with it (`path`, `complaints`)."""
    try:
        facts = dict(json.loads(response.body)["error"])
        code, message = str(facts.pop("code")), str(facts.pop("message"))
    except (ValueError, LookupError, TypeError):
        text = response.body[:200].decode(errors="replace")
        return RequestRefused(response.status, "not_the_api", text)
    return named(response.status, code, message, facts)


def named(status: int, code: str, message: str, facts: Mapping[str, Any]) -> DurableMontyError:
    name = "".join(part.capitalize() for part in code.split("_"))
    kind = getattr(exceptions, name, None)
    if not (isinstance(kind, type) and issubclass(kind, DurableMontyError)):
        return RequestRefused(status, code, message)
    # Its constructor takes facts that the server does not send, and makes the message of them.
    exc: DurableMontyError = kind.__new__(kind)
    Exception.__init__(exc, message)
    if facts.get("complaints") is not None:
        facts = {**facts, "complaints": tuple(read_all(Complaint, facts["complaints"]))}
    vars(exc).update({**facts, "http_status": status, "code": code})
    return exc


def _is_worth_another(request: Request[Any], outcome: Response | Broken | None) -> bool:
    if isinstance(outcome, Broken):
        return request.may_repeat or not outcome.was_sent
    if outcome is None or outcome.status not in _LATER:
        return False
    return request.may_repeat or outcome.status == 429


def _pause(tried: int, outcome: Response | Broken | None) -> float:
    asked = outcome.headers.get("retry-after", "") if isinstance(outcome, Response) else ""
    if asked.isdecimal():
        return min(float(asked), _LONGEST_ASKED)
    longest: float = min(_FIRST_PAUSE * 2**tried, _LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1)


def _json(response: Response) -> Any:
    try:
        return json.loads(response.body)
    except ValueError as exc:
        text = response.body[:200].decode(errors="replace")
        raise RequestRefused(response.status, "not_the_api", text) from exc
