"""Turns rows into the dictionaries that the API sends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from durable_monty.api.values import Values
from durable_monty.models import Call, Execution
from durable_monty.reads.executions import error_of

_MAX_ERROR = 500  # characters of an error in a list
# The columns that are sent as they are. The schemas declare them, and the tests compare both.
_ROW = (
    *("name", "label", "key", "status", "turn", "call_count"),
    *("created_at", "started_at", "finished_at"),
)
_EXECUTION = (
    *("reason", "pause_requested", "cancel_requested_at", "deadline", "forked_turn"),
    *("handled_at", "resolution", "log"),
)
_CALL = (
    *("call_id", "kind", "function", "status", "executor", "turn", "delivered_turn", "attempt"),
    *("progress", "progress_message", "idempotency_key", "reason"),
    *("created_at", "started_at", "finished_at"),
)


def execution_row(execution: Execution) -> dict[str, Any]:
    error = error_of(execution)
    return {
        "execution_id": str(execution.pk),
        "version": execution.version_number,
        "error": error and error[:_MAX_ERROR],
        **{name: getattr(execution, name) for name in _ROW},
    }


def execution_facts(
    execution: Execution, calls: Iterable[Call] | None, values: Values
) -> dict[str, Any]:
    """Returns an execution with its open `calls`; None hides them."""
    pending = [
        {
            "call_id": call.call_id,
            "function_name": call.function,
            "args": values.write(call.args),
            "kwargs": values.write(call.kwargs),
            "status": call.status,
        }
        for call in calls or ()
    ]
    return execution_row(execution) | {
        "inputs": values.write(execution.inputs),
        "output": values.write(execution.output),
        "error": _error(execution, execution.error_traceback),
        "pending_calls": None if calls is None else pending,
        "forked_from": execution.forked_from_id and str(execution.forked_from_id),
        "retried_by": execution.retried_by_id and str(execution.retried_by_id),
        **{name: getattr(execution, name) for name in _EXECUTION},
    }


def call_facts(call: Call, values: Values) -> dict[str, Any]:
    return {
        "args": values.write(call.args),
        "kwargs": values.write(call.kwargs),
        "result": values.write(call.result),
        "error": _error(call),
        "completed_by": call.completed_by_name,
        **{name: getattr(call, name) for name in _CALL},
    }


def _error(row: Execution | Call, traceback: str = "") -> dict[str, str] | None:
    if not row.error_type and not row.error_message:
        return None
    return {"type": row.error_type, "message": row.error_message, "traceback": traceback}
