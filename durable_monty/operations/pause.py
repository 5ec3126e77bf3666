from __future__ import annotations

import uuid
from typing import Any

from durable_monty import codec
from durable_monty.exceptions import ExecutionNotPaused
from durable_monty.models import Execution, ExecutionStatus
from durable_monty.models.clock import database_now
from durable_monty.operations.answer import REASON_LIMIT
from durable_monty.operations.find import lock_unfinished
from durable_monty.operations.transactions import write
from durable_monty.wakeups import announce


def pause_execution(execution_id: uuid.UUID, reason: str, *, using: str) -> None:
    """Pauses an execution until `resume_execution`; a turn that runs is committed first.

    Its open calls go on, and their answers are recorded. Pausing again changes the reason.
    Raises `ExecutionNotFound`, `ExecutionFinished`.
    """
    with write(using):
        execution = lock_unfinished(execution_id, ExecutionStatus.PAUSED, using)
        changes: dict[str, Any] = {}
        if execution.cancel_requested_at is None:  # a cancellation keeps its reason
            changes |= {"reason": codec.clean_text(reason, REASON_LIMIT)}
        # A worker that runs a turn does not know of the request. Its commit obeys it.
        if execution.claim is not None:
            changes |= {"pause_requested": True}
        else:
            changes |= {"status": ExecutionStatus.PAUSED, "due_at": None}
        Execution.objects.using(using).filter(pk=execution_id).update(**changes)


def resume_execution(execution_id: uuid.UUID, *, using: str) -> None:
    """Lets workers go on with a paused execution.

    Raises `ExecutionNotFound`, `ExecutionFinished`, `ExecutionNotPaused`.
    """
    with write(using):
        execution = lock_unfinished(execution_id, ExecutionStatus.WAITING, using)
        executions = Execution.objects.using(using).filter(pk=execution_id)
        kept = execution.reason if execution.cancel_requested_at is not None else ""
        if execution.status != ExecutionStatus.PAUSED:
            if not execution.pause_requested:
                raise ExecutionNotPaused(execution_id, execution.status)
            executions.update(pause_requested=False, reason=kept)
            return
        announce(using)
        executions.update(
            pause_requested=False,
            status=execution.active_status,
            due_at=database_now(using),
            error_type="",
            error_message="",
            reason=kept,
        )
