"""Attempts of a call: each that did not answer it leaves a row."""

from __future__ import annotations

from datetime import datetime

from django.db.models import F, Q

from durable_monty import codec
from durable_monty.durations import later
from durable_monty.functions import DEFAULT_EXECUTOR, FUNCTION_REGISTRY, NO_TIMEOUTS
from durable_monty.kinds import Due, kind_of
from durable_monty.models import Attempt, AttemptOutcome, Call, CallStatus
from durable_monty.operations.answer import Answer
from durable_monty.policy import Timeouts


def timeouts_of(function: str) -> Timeouts:
    """Those it is registered with here; none if it is not."""
    entry = FUNCTION_REGISTRY.get(function)
    return NO_TIMEOUTS if entry is None else entry.timeouts


def after(now: datetime, seconds: float | None) -> datetime | None:
    return None if seconds is None else later(now, seconds)


def executor_of(function: str) -> str:
    """Whose calls of it are; the worker's own, if it is not registered here."""
    entry = FUNCTION_REGISTRY.get(function)
    return DEFAULT_EXECUTOR if entry is None else entry.executor


def due_time(call: Call, now: datetime) -> datetime | None:
    """Returns when a worker must look at an open call that is in the journal already."""
    match kind_of(call).due:
        case Due.AT_ONCE:
            return now
        case Due.AFTER_DELAY:
            delay: float | None = codec.decode(call.args)[-1]
            return None if delay is None else later(call.created_at, delay)
        case Due.NEVER:
            return None


def schedule(function: str, now: datetime) -> dict[str, datetime | None]:
    """Returns the deadlines of a call that is made now."""
    timeouts = timeouts_of(function)
    start_by = after(now, timeouts.schedule_to_start)
    close_by = after(now, timeouts.schedule_to_close)
    return {
        "start_by": start_by,
        "close_by": close_by,
        "deadline_at": min((at for at in (start_by, close_by) if at), default=None),
    }


def end_attempt(
    call: Call, outcome: AttemptOutcome, answer: Answer, now: datetime, using: str
) -> None:
    """`call` as it was before; nothing is left of one that had not been started."""
    if call.status != CallStatus.SUBMITTED or call.started_at is None:
        return
    Attempt.objects.using(using).create(
        call_id=call.pk,
        number=call.attempt,
        outcome=outcome,
        error_type=answer.error_type,
        error_message=answer.error_message,
        error_traceback=answer.error_traceback,
        worker_id=call.worker_id,
        started_at=call.started_at,
        ended_at=now,
    )


def schedule_retry(call: Call, answer: Answer, fence: Q, now: datetime, using: str) -> bool:
    """Whether the call was open and within `fence`; if not, `call` is read again."""
    due_at = later(now, answer.retry_in or 0.0)
    start_by = after(due_at, timeouts_of(call.function).schedule_to_start)
    call.start_by, call.attempt_end_by, call.heartbeat_by = start_by, None, None
    call.note_deadline()
    scheduled = (
        Call.objects.using(using)
        .filter(fence, pk=call.pk)
        .open()
        .update(
            status=CallStatus.PENDING,
            claim=None,
            job_id="",
            due_at=due_at,
            failures=F("failures") + 1,
            losses=0,
            start_by=start_by,
            attempt_end_by=None,
            heartbeat_by=None,
            deadline_at=call.deadline_at,
        )
    )
    if not scheduled:
        call.refresh_from_db(using=using)
    return bool(scheduled)
