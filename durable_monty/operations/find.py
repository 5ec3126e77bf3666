"""Finding the row of an execution or of a call, or raising that there is none."""

from __future__ import annotations

import uuid

from durable_monty.exceptions import CallNotFound, ExecutionFinished, ExecutionNotFound
from durable_monty.models import Call, Execution
from durable_monty.models.execution import ExecutionQuerySet
from durable_monty.operations.locks import locked


def find_execution(execution_id: uuid.UUID, executions: ExecutionQuerySet) -> Execution:
    """Returns the execution out of `executions`. Raises `ExecutionNotFound`."""
    execution = executions.filter(pk=execution_id).first()
    if execution is None:
        raise ExecutionNotFound(execution_id)
    return execution


def lock_execution(execution_id: uuid.UUID, using: str) -> Execution:
    """Returns the execution, locked. Raises `ExecutionNotFound`."""
    return find_execution(execution_id, locked(Execution.objects.using(using).all()))


def lock_unfinished(execution_id: uuid.UUID, wanted: str, using: str) -> Execution:
    """Returns the execution, locked, for a transition to the status `wanted`.

    Raises `ExecutionNotFound`, `ExecutionFinished`.
    """
    execution = lock_execution(execution_id, using)
    if execution.is_finished:
        raise ExecutionFinished(execution_id, execution.status, wanted)
    return execution


def find_call(execution_id: uuid.UUID, call_id: int, using: str) -> Call:
    """Returns the call. Raises `CallNotFound`."""
    call = Call.objects.using(using).filter(execution_id=execution_id, call_id=call_id).first()
    if call is None:
        raise CallNotFound(execution_id, call_id)
    return call
