"""Rows as the API shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from durable_monty.api.values import Values
from durable_monty.models import Call, Execution
from durable_monty.reads.executions import error_of

# Characters of an error in a list.
_SHORT = 500


def execution_row(execution: Execution) -> dict[str, Any]:
    error = error_of(execution)
    return {
        "execution_id": str(execution.pk),
        "name": execution.name,
        "key": execution.key,
        "status": execution.status,
        "error": error and error[:_SHORT],
        "turn": execution.turn,
        "call_count": execution.call_count,
        "created_at": execution.created_at,
        "started_at": execution.started_at,
        "finished_at": execution.finished_at,
    }


def execution_facts(
    execution: Execution, calls: Iterable[Call] | None, values: Values
) -> dict[str, Any]:
    """`calls`: its open ones; None if they are not shown."""
    return execution_row(execution) | {
        "inputs": values.write(execution.inputs),
        "output": values.write(execution.output),
        "error": _error(execution, execution.error_traceback),
        "pending_calls": None if calls is None else [_pending(call, values) for call in calls],
        "reason": execution.reason,
        "pause_requested": execution.pause_requested,
        "cancel_requested_at": execution.cancel_requested_at,
        "deadline": execution.deadline,
        "forked_from": _id(execution.forked_from_id),
        "forked_turn": execution.forked_turn,
        "retried_by": _id(execution.retried_by_id),
        "handled_at": execution.handled_at,
        "resolution": execution.resolution,
        "log": execution.log,
    }


def call_facts(call: Call, values: Values) -> dict[str, Any]:
    return {
        "call_id": call.call_id,
        "kind": call.kind,
        "function": call.function,
        "status": call.status,
        "args": values.write(call.args),
        "kwargs": values.write(call.kwargs),
        "result": values.write(call.result),
        "error": _error(call),
        "executor": call.executor,
        "turn": call.turn,
        "delivered_turn": call.delivered_turn,
        "attempt": call.attempt,
        "progress": call.progress,
        "progress_message": call.progress_message,
        "idempotency_key": call.idempotency_key,
        "completed_by": call.completed_by_name,
        "reason": call.reason,
        "created_at": call.created_at,
        "started_at": call.started_at,
        "finished_at": call.finished_at,
    }


def _pending(call: Call, values: Values) -> dict[str, Any]:
    return {
        "call_id": call.call_id,
        "function_name": call.function,
        "args": values.write(call.args),
        "kwargs": values.write(call.kwargs),
        "status": call.status,
    }


def _error(row: Execution | Call, traceback: str = "") -> dict[str, str] | None:
    if not row.error_type and not row.error_message:
        return None
    return {"type": row.error_type, "message": row.error_message, "traceback": traceback}


def _id(pk: object) -> str | None:
    return None if pk is None else str(pk)
