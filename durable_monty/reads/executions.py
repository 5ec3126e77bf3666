"""Executions as the service and the API give them to their callers."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q

from durable_monty import codec
from durable_monty.exceptions import ExecutionNotCompleted
from durable_monty.kinds import PERSON
from durable_monty.models import Call, Execution, ExecutionStatus
from durable_monty.operations.find import find_execution
from durable_monty.reads.call_state import is_retrying


def get_execution(execution_id: uuid.UUID, using: str) -> Execution:
    """Raises `ExecutionNotFound`."""
    executions = Execution.objects.using(using).select_related("version")
    return find_execution(execution_id, executions)


def poll(execution: Execution, calls: list[Call]) -> dict[str, Any]:
    """Returns what `OrchestratorService.poll` gives; `calls` are the open function calls."""
    return {
        "execution_id": str(execution.pk),
        "name": execution.name,
        "label": execution.label,
        "version": execution.version_number,
        "status": execution.status,
        "output": None if execution.output is None else codec.decode(execution.output),
        "error": error_of(execution),
        "pending_calls": [pending_call(call) | {"status": call.status} for call in calls],
    }


def poll_unfinished(using: str) -> list[dict[str, Any]]:
    calls: dict[uuid.UUID, list[Call]] = {}
    # Read before the calls: a call that is answered in between is only missing.
    unfinished = Execution.objects.using(using).unfinished()
    executions = list(unfinished.select_related("version").order_by("pk"))
    for call in _open_functions(using).filter(execution__in=unfinished):
        calls.setdefault(call.execution_id, []).append(call)
    return [poll(execution, calls.get(execution.pk, [])) for execution in executions]


def find_open_calls(execution_id: uuid.UUID, using: str) -> list[Call]:
    return list(_open_functions(using).filter(execution_id=execution_id))


def goes_on_by_itself(using: str) -> bool:
    """Returns whether any execution is due, is being run, or waits for something other than
    people."""
    open_calls = Call.objects.using(using).filter(execution=OuterRef("pk")).open()
    awaits = Exists(open_calls.exclude(PERSON.rows))
    # One that is being cancelled ends by itself: at the latest when its grace is over.
    is_due = Q(due_at__isnull=False) | Q(grace_until__isnull=False)
    # In one statement: between two, an answer can close a call and make its execution due.
    return Execution.objects.using(using).active().filter(is_due | awaits).exists()


def waits_for_retry(execution: Execution, now: datetime, using: str) -> bool:
    """Returns whether a call of the execution waits for its next attempt."""
    calls = Call.objects.using(using).filter(execution=execution)
    return calls.filter(is_retrying(now)).exists()


def pending_call(call: Call) -> dict[str, Any]:
    return {
        "call_id": call.call_id,
        "function_name": call.function,
        "args": codec.decode(call.args),
        "kwargs": codec.decode(call.kwargs),
    }


def error_of(execution: Execution) -> str | None:
    if not execution.error_type:
        return None
    return f"{execution.error_type}: {execution.error_message}"


def result_of(execution: Execution) -> Any:
    """Raises `ExecutionNotCompleted`, with the error if there is one."""
    if execution.status != ExecutionStatus.COMPLETED or execution.output is None:
        raise ExecutionNotCompleted(execution.pk, execution.status, error_of(execution) or "")
    return codec.decode(execution.output)


def _open_functions(using: str) -> Any:
    return Call.objects.using(using).open().functions().order_by("execution_id", "call_id")
