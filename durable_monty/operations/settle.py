"""Recording answers: each in one transaction with the wake-up of its execution."""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from django.db.models import Case, F, Q, When

from durable_monty import codec, conf
from durable_monty.exceptions import (
    CallNotFound,
    CallSettled,
    DurableMontyError,
    ExecutionNotFound,
    LeaseLost,
    UnstorableValue,
)
from durable_monty.models import Call, CallStatus, Execution
from durable_monty.models.clock import database_now
from durable_monty.models.execution import ACTIVE
from durable_monty.operations.claim import ClaimedCall, due_timers
from durable_monty.operations.transactions import write

_MESSAGE_LIMIT = 10_000
_TRACEBACK_LIMIT = 50_000


@dataclass(frozen=True, slots=True)
class Answer:
    """A settled answer: `result` is JSON text, or None for an error."""

    result: str | None = None
    error_type: str = ""
    error_message: str = ""
    error_traceback: str = ""

    @classmethod
    def of_error(cls, error_type: str, message: str, error_traceback: str = "") -> Self:
        return cls(
            error_type=codec.clean_text(error_type, 200),
            error_message=codec.clean_text(message, _MESSAGE_LIMIT),
            error_traceback=codec.clean_text(error_traceback, _TRACEBACK_LIMIT),
        )

    @classmethod
    def of_exception(cls, exc: BaseException) -> Self:
        message = str(exc)
        if isinstance(exc, KeyError) and len(exc.args) == 1 and isinstance(exc.args[0], str):
            message = exc.args[0]  # str() would add quotes, and raising it again more of them
        return cls.of_error(type(exc).__name__, message, "".join(traceback.format_exception(exc)))

    @classmethod
    def of_result(cls, result: Any, function: str) -> Self:
        """An error, if the result cannot be stored."""
        try:
            return cls(
                codec.encode(result, path="result", max_bytes=conf.current().MAX_VALUE_BYTES)
            )
        except UnstorableValue as exc:
            return cls.of_error("TypeError", f"{function}() returned what cannot be stored: {exc}")

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


def settle_attempt(claimed: ClaimedCall, answer: Answer, *, using: str) -> None:
    """As `settle_attempts`, of one; raises its refusal."""
    for refusal in settle_attempts([(claimed, answer)], using=using):
        raise refusal


def settle_attempts(
    answers: Sequence[tuple[ClaimedCall, Answer]], *, using: str
) -> list[DurableMontyError]:
    """Records what running functions gave, in one transaction, and gives what was refused.

    Saying the same again is fine (the first commit's acknowledgement may have been lost). An
    answer after the lease ran out is still taken while nobody else has claimed the call:
    `LeaseLost` if somebody has, `CallSettled` if it was answered or withdrawn, `CallNotFound` if
    it was deleted.
    """
    calls = Call.objects.using(using).in_bulk([claimed.pk for claimed, _answer in answers])
    refused: list[DurableMontyError] = []
    with write(using):
        now = database_now(using)
        _wake([call.execution_id for call in calls.values()], now, using)
        for claimed, answer in sorted(answers, key=lambda item: item[0].pk):
            call = calls.get(claimed.pk)
            if call is None:
                refused.append(CallNotFound("(deleted)", claimed.pk))
                continue
            if _settle(call, answer, Q(claim=claimed.token), now, using):
                continue
            if call.claim != claimed.token or not answer.is_on(call):
                refused.append(_refusal(call, answer))
    return refused


def settle_by_hand(
    execution_id: uuid.UUID,
    call_id: int,
    answer: Answer,
    *,
    using: str,
    user: Any = None,
    reason: str = "",
) -> Call:
    """Records an answer from outside, whoever may be running the call.

    Raises `ExecutionNotFound`, `CallNotFound` or `CallSettled`; nothing is changed then.
    """
    if not Execution.objects.using(using).filter(pk=execution_id).exists():
        raise ExecutionNotFound(execution_id)
    call = _find(using, execution_id=execution_id, call_id=call_id)
    with write(using):
        now = database_now(using)
        _wake([call.execution_id], now, using)
        note = {"completed_by": user, "reason": codec.clean_text(reason, 10_000)}
        if not _settle(call, answer, Q(), now, using, **note):
            raise _refusal(call, answer)
    return call


def settle_timers(limit: int, *, using: str) -> int:
    """Answers the sleeps that are over, and gives their number."""
    due = due_timers(limit, using=using)
    if not due:
        return 0
    with write(using):
        now = database_now(using)
        _wake([execution_id for execution_id, _pk in due], now, using)
        return (
            Call.objects.using(using)
            .filter(pk__in=[pk for _execution_id, pk in due])
            .open()
            .update(status=CallStatus.COMPLETED, result="null", finished_at=now, due_at=None)
        )


def _find(using: str, **lookup: Any) -> Call:
    call = Call.objects.using(using).filter(**lookup).first()
    if call is None:
        raise CallNotFound(lookup.get("execution_id"), lookup.get("call_id", lookup.get("pk")))
    return call


def _settle(call: Call, answer: Answer, fence: Q, now: datetime, using: str, **note: Any) -> bool:
    """Whether the call was open to this answer; if not, `call` is read again."""
    settled = (
        Call.objects.using(using)
        .filter(fence, pk=call.pk)
        .open()
        .update(
            status=answer.status,
            result=answer.result,
            error_type=answer.error_type,
            error_message=answer.error_message,
            error_traceback=answer.error_traceback,
            finished_at=now,
            due_at=None,
            **note,
        )
    )
    if not settled:
        call.refresh_from_db(using=using)
    return bool(settled)


def _refusal(call: Call, answer: Answer) -> LeaseLost | CallSettled:
    if call.is_open:
        return LeaseLost(call.execution_id, call.call_id)
    return CallSettled(call.execution_id, call.call_id, call.status, answer.status)


def _wake(execution_ids: Sequence[uuid.UUID], now: datetime, using: str) -> None:
    """Makes executions due; one that is being advanced sees `wakeups` when it commits.

    Before any call is touched: every write locks executions, then calls, each in id order.
    """
    executions = Execution.objects.using(using)
    ids = sorted(set(execution_ids))
    if len(ids) > 1:
        list(executions.filter(pk__in=ids).order_by("pk").select_for_update().values_list("pk"))
    executions.filter(pk__in=ids).update(
        wakeups=F("wakeups") + 1,
        due_at=Case(When(claim=None, status__in=ACTIVE, then=now), default=F("due_at")),
    )
