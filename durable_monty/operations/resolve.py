"""Marks failures as resolved, or takes that back."""

from __future__ import annotations

import uuid

from durable_monty import codec
from durable_monty.exceptions import ExecutionNotFailed, ExecutionNotResolved
from durable_monty.models import ExecutionStatus
from durable_monty.models.clock import database_now
from durable_monty.operations.answer import REASON_LIMIT
from durable_monty.operations.find import lock_execution
from durable_monty.operations.transactions import write


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
