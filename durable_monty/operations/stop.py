"""Ends executions from outside: cancels, terminates, or lets their time run out."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.db.models import Q

from durable_monty import codec, conf
from durable_monty.durations import LONGEST, later
from durable_monty.exceptions import InvalidDuration
from durable_monty.models import Execution, ExecutionStatus
from durable_monty.models.clock import database_now
from durable_monty.operations.answer import DEADLINE_PASSED, REASON_LIMIT, Answer
from durable_monty.operations.close import close_open_calls
from durable_monty.operations.find import lock_unfinished
from durable_monty.operations.finish import finish
from durable_monty.operations.locks import locked
from durable_monty.operations.transactions import write
from durable_monty.sandbox import CANCELLED
from durable_monty.wakeups import announce


def cancel_execution(
    execution_id: uuid.UUID, reason: str, *, using: str, grace: float | None = None
) -> None:
    """Asks an execution to end: the calls that it awaits raise BaseException("Cancelled: ...").

    It may clean up, with calls too, for `grace` seconds (`CANCEL_GRACE`); then it is terminated.
    A second request changes nothing. Raises `ExecutionNotFound`, `ExecutionFinished`,
    `InvalidDuration`.
    """
    if grace is not None and not 0 <= grace <= LONGEST:
        raise InvalidDuration("grace", grace)
    with write(using):
        execution = lock_unfinished(execution_id, ExecutionStatus.CANCELLED, using)
        if execution.cancel_requested_at is not None:
            return
        now = database_now(using)
        reason = codec.clean_text(reason, REASON_LIMIT)
        # One that has not begun has nothing to clean up.
        if not execution.turn and execution.claim is None:
            finish(execution, ExecutionStatus.CANCELLED, "Cancelled", reason, now, using)
            return
        answer = Answer.of_error(CANCELLED, reason)
        changes: dict[str, Any] = {"cancel_requested_at": now, "reason": reason}
        _ask_to_end(execution, answer, now, using, grace=grace, **changes)


def terminate_execution(execution_id: uuid.UUID, reason: str, *, using: str) -> None:
    """Ends an execution now.

    A turn that runs is thrown away; functions that run can see it by `current_call().cancelled()`.
    Raises `ExecutionNotFound`, `ExecutionFinished`.
    """
    with write(using):
        execution = lock_unfinished(execution_id, ExecutionStatus.CANCELLED, using)
        now = database_now(using)
        reason = codec.clean_text(reason, REASON_LIMIT)
        finish(execution, ExecutionStatus.CANCELLED, "Cancelled", reason, now, using)


def expire_executions(limit: int, *, using: str) -> int:
    """Asks executions to end whose deadline has passed, and ends those whose grace has passed.

    Returns the number of both.
    """
    executions = Execution.objects.using(using)
    now = database_now(using)
    past = Q(deadline__lte=now) | Q(grace_until__lte=now)
    by_index = [  # two queries: an OR would read the table
        executions.filter(deadline__lte=now).order_by("deadline"),
        executions.filter(grace_until__lte=now).order_by("grace_until"),
    ]
    pks = sorted({pk for rows in by_index for pk in rows.values_list("pk", flat=True)[:limit]})
    done = 0
    for pk in pks:
        # One transaction each, in which it may turn out that another worker was first, or that
        # somebody has locked it.
        with write(using):
            execution = locked(executions.filter(past, pk=pk), waits=False).first()
            if execution is None:
                continue
            done += 1
            now = database_now(using)
            if execution.grace_until is None or execution.grace_until > now:
                late = Answer.of_error("TimeoutError", DEADLINE_PASSED)
                _ask_to_end(execution, late, now, using, grace=None, deadline=None)
            elif execution.cancel_requested_at is None:
                message = "The deadline of the execution has passed, and its grace too."
                finish(execution, ExecutionStatus.FAILED, "TimeoutError", message, now, using)
            else:
                message = f"{execution.reason} (It did not end by itself in time.)".strip()
                finish(execution, ExecutionStatus.CANCELLED, "Cancelled", message, now, using)
    return done


def _ask_to_end(
    execution: Execution,
    answer: Answer,
    now: datetime,
    using: str,
    *,
    grace: float | None,
    **changes: Any,
) -> None:
    """Answers all open calls of an execution with `answer`, and wakes it, paused or not."""
    close_open_calls([execution.pk], answer, now, using)
    seconds = conf.current().CANCEL_GRACE if grace is None else grace
    if execution.status == ExecutionStatus.PAUSED:
        changes["status"] = execution.active_status
    if execution.claim is None:
        changes["due_at"] = now
        announce(using)
    Execution.objects.using(using).filter(pk=execution.pk).update(
        wakeups=execution.wakeups + 1,
        pause_requested=False,
        grace_until=later(now, seconds),
        **changes,
    )
