from __future__ import annotations

import uuid

from durable_monty.exceptions import ExecutionNotFound, ExecutionNotPaused
from durable_monty.models import Execution, ExecutionStatus
from durable_monty.models.clock import database_now
from durable_monty.operations.transactions import write


def resume_execution(execution_id: uuid.UUID, *, using: str) -> None:
    """Lets workers try a paused execution again; what paused it may be mended by now."""
    executions = Execution.objects.using(using).filter(pk=execution_id)
    with write(using):
        execution = executions.select_for_update().first()
        if execution is None:
            raise ExecutionNotFound(execution_id)
        if execution.status != ExecutionStatus.PAUSED:
            raise ExecutionNotPaused(execution_id, execution.status)
        executions.update(
            status=ExecutionStatus.WAITING if execution.turn else ExecutionStatus.SCHEDULED,
            due_at=database_now(using),
            error_type="",
            error_message="",
        )
