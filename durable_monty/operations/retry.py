"""Retries failures, at once or in a fork, and marks failures as resolved."""

from __future__ import annotations

import uuid

from durable_monty import codec
from durable_monty.exceptions import (
    CallNotWaiting,
    ExecutionNotFailed,
    ExecutionNotResolved,
    NothingToRetry,
)
from durable_monty.functions import policy_of
from durable_monty.models import Call, CallStatus, Execution, ExecutionStatus
from durable_monty.models.call import CallQuerySet
from durable_monty.models.clock import database_now
from durable_monty.operations.answer import REASON_LIMIT
from durable_monty.operations.copies import Edits
from durable_monty.operations.failed_calls import fatal_calls
from durable_monty.operations.find import (
    find_call,
    find_execution,
    lock_execution,
    lock_unfinished,
)
from durable_monty.operations.fork import fork_execution
from durable_monty.operations.locks import locked
from durable_monty.operations.schedule import after
from durable_monty.operations.transactions import write
from durable_monty.wakeups import announce


def retry_execution(
    execution_id: uuid.UUID, *, key: str | None = None, keep_keys: bool = True, using: str
) -> Execution:
    """Retries an execution, and returns the execution that goes on.

    If it still runs, its calls that wait for their next attempt are tried now. If a call made it
    fail, it is forked from the turn before, with that call open again.

    An execution is retried once: a second request returns the same fork. If that one has failed
    too, it is the one to retry. `keep_keys`: calls that are made again keep their idempotency
    keys. Raises `ExecutionNotFound`, `NothingToRetry`, and as `fork_execution` does.
    """
    executions = Execution.objects.using(using).select_related("retried_by")
    execution = find_execution(execution_id, executions)
    if execution.retried_by is not None:
        return execution.retried_by
    if not execution.is_finished:
        with write(using):
            execution = lock_unfinished(execution_id, ExecutionStatus.WAITING, using)
            calls = Call.objects.using(using).filter(execution=execution)
            if not _make_due(calls, using):
                why = "no call of it that waits for a retry"
                raise NothingToRetry(execution_id, execution.status, why)
        return execution
    turn, call_ids = fatal_calls(execution, using)
    edits = Edits(answers=dict.fromkeys(call_ids), keep_keys=keep_keys)
    return fork_execution(execution_id, turn - 1, edits, key=key, is_retry=True, using=using)


def retry_call(execution_id: uuid.UUID, call_id: int, *, using: str) -> None:
    """Makes a call due now that waits for its next attempt.

    Raises `ExecutionNotFound`, `CallNotFound`, `CallNotWaiting`.
    """
    calls = Call.objects.using(using).filter(execution_id=execution_id, call_id=call_id)
    with write(using):
        lock_execution(execution_id, using)
        call = find_call(execution_id, call_id, using)
        if not _make_due(calls, using):
            raise CallNotWaiting(execution_id, call_id, call.status)


def resolve_execution(execution_id: uuid.UUID, reason: str, *, using: str) -> None:
    """Marks a failed execution as resolved, unless it is handled already.

    Raises `ExecutionNotFound`, `ExecutionNotFailed`.
    """
    with write(using):
        execution = lock_execution(execution_id, using)
        if execution.status != ExecutionStatus.FAILED:
            raise ExecutionNotFailed(execution_id, execution.status)
        if execution.handled_at is None:
            execution.handled_at = database_now(using)
            execution.resolution = codec.clean_text(reason, REASON_LIMIT)
            execution.save(using=using, update_fields=["handled_at", "resolution"])


def unresolve_execution(execution_id: uuid.UUID, *, using: str) -> None:
    """Lists an execution among the failures again that was marked as resolved.

    Raises `ExecutionNotFound`, `ExecutionNotResolved`.
    """
    with write(using):
        execution = lock_execution(execution_id, using)
        if execution.handled_at is None or execution.retried_by_id is not None:
            raise ExecutionNotResolved(execution_id)
        execution.handled_at, execution.resolution = None, ""
        execution.save(using=using, update_fields=["handled_at", "resolution"])


def _make_due(calls: CallQuerySet, using: str) -> int:
    now = database_now(using)
    waiting = calls.open().functions().filter(status=CallStatus.PENDING, due_at__gt=now)
    found = list(locked(waiting.order_by("pk")))
    for call in found:
        call.due_at = now
        call.start_by = after(now, policy_of(call).timeouts.schedule_to_start)
        call.note_deadline()
        call.save(using=using, update_fields=["due_at", "start_by", "deadline_at"])
    if found:
        announce(using)
    return len(found)
