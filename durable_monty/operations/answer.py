"""Answers to calls, and the claims by which workers give them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from django.db.models import Q

from durable_monty import codec, conf
from durable_monty.exceptions import NonRetryable, RetryAfter, UnstorableValue
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.models import Call, CallStatus
from durable_monty.operations.exception_texts import (
    MESSAGE_LIMIT,
    cause_of,
    message_of,
    traceback_of,
    type_of,
)
from durable_monty.policy import Retry
from durable_monty.sandbox import CANCELLED, nearest
from durable_monty.text_limits import MAX_NAME

if TYPE_CHECKING:
    from durable_monty.operations.new_calls import NewCall

TRACEBACK_LIMIT = 50_000
REASON_LIMIT = 10_000

DEADLINE_PASSED = "The deadline of the execution has passed."
# Answers that ask the execution to end; no function gave them.
END_REQUESTS = Q(error_type=CANCELLED) | Q(error_message=DEADLINE_PASSED)


def asks_to_end(call: Call) -> bool:
    """Returns whether the call was answered by one of `END_REQUESTS`."""
    return call.error_type == CANCELLED or call.error_message == DEADLINE_PASSED


@dataclass(frozen=True, slots=True)
class ClaimedCall:
    """A call that this process may start once, by its `token`.

    `alone`: it must not share a job with other calls. `call`: what is known of it, for the log.
    """

    pk: int
    token: uuid.UUID
    alone: bool = field(default=True, compare=False)
    call: Call | NewCall | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, call: Call) -> Self:
        assert call.claim is not None  # noqa: S101  (only claimed calls are started)
        return cls(call.pk, call.claim, call=call)


def by_hand(user: Any, reason: str) -> dict[str, Any]:
    """Returns the columns that say which person answered a call; the user may be None."""
    username = "" if user is None else user.get_username()
    return {
        "completed_by_id": None if user is None else user.pk,
        "completed_by_name": codec.clean_text(username, MAX_NAME),
        "reason": codec.clean_text(reason, REASON_LIMIT),
    }


def error_columns(error_type: str, message: str, traceback: str) -> dict[str, str]:
    """Returns the columns of an error, without what the database refuses or has no room for."""
    return {
        "error_type": codec.clean_text(error_type, MAX_NAME),
        "error_message": codec.clean_text(message, MESSAGE_LIMIT),
        "error_traceback": codec.clean_text(traceback, TRACEBACK_LIMIT),
    }


class Answer(NamedTuple):
    """The result of a call, or its error.

    `result` is JSON text, or None for an error. `retry_in`: the seconds until the next attempt;
    None if the error is final. `raised_as`: the type that the workflow sees, if it is another one
    than `error_type`. `exc`: the exception, if this process has it.
    """

    result: str | None = None
    error_type: str = ""
    error_message: str = ""
    error_traceback: str = ""
    retry_in: float | None = None
    raised_as: str = ""
    exc: BaseException | None = None

    @classmethod
    def of_error(cls, error_type: str, message: str, error_traceback: str = "") -> Self:
        return cls(**error_columns(error_type, message, error_traceback))  # type: ignore[arg-type]

    @classmethod
    def of_exception(cls, exc: BaseException) -> Self:
        """Returns the answer for an exception; never raises, whatever its methods do."""
        if issubclass(type(exc), NonRetryable | RetryAfter):
            exc = cause_of(exc) or exc
        error_type, raised_as = type_of(exc), nearest(type(exc))
        answer = cls.of_error(error_type, message_of(exc), traceback_of(exc))
        return answer._replace(raised_as="" if raised_as == error_type else raised_as, exc=exc)

    def under(self, policy: Retry, exc: BaseException, failures: int) -> Self:
        """Returns this error with the time of the next attempt, after `failures` failed ones."""
        wait = policy.wait(exc, failures)
        return self._replace(retry_in=wait, exc=self.exc if wait is None else None)

    @classmethod
    def of_result(cls, result: Any, function: str) -> Self:
        """Returns the answer for a result: an error if the result cannot be stored."""
        try:
            return cls(
                codec.encode(result, path="result", max_bytes=conf.current().MAX_VALUE_BYTES)
            )
        except UnstorableValue as exc:
            return cls.of_error("TypeError", f"{function}() returned what cannot be stored: {exc}")

    def fit(self, function: str) -> Self:
        """Returns an answer that somebody gave for a function, with what its annotation names.

        A dict becomes the record of the annotated dataclass. Raises `WrongResult` if it does not
        fit, and `UnstorableValue`.
        """
        entry = FUNCTION_REGISTRY.get(function)
        if self.result is None or entry is None or not entry.conversion.has_result:
            return self
        value = entry.conversion.returned(codec.decode(self.result))
        limit = conf.current().MAX_VALUE_BYTES
        return self._replace(result=codec.encode(value, path="result", max_bytes=limit))

    @property
    def status(self) -> CallStatus:
        return CallStatus.FAILED if self.result is None else CallStatus.COMPLETED

    def is_on(self, call: Call) -> bool:
        return (call.status, call.result, call.error_type, call.error_message) == (
            self.status,
            self.result,
            self.error_type,
            self.error_message,
        )


def closed(answer: Answer | None, now: datetime) -> dict[str, Any]:
    """Returns the columns of a call that has this answer; None: that nobody waits for any more."""
    columns: dict[str, Any] = {"status": CallStatus.CANCELLED}
    if answer is not None and answer.result is not None:
        columns = {"status": CallStatus.COMPLETED, "result": answer.result}
    elif answer is not None:
        columns = {
            "status": CallStatus.FAILED,
            "error_type": answer.error_type,
            "error_message": answer.error_message,
            "raised_as": answer.raised_as,
            "error_traceback": answer.error_traceback,
        }
    return columns | {"finished_at": now, "due_at": None, "deadline_at": None}
