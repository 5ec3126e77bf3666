"""What the usual commit is given: a row for each execution, and one for each of its new calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.outcomes import TurnResult
from durable_monty.sandbox import Completed

# As the columns of `given` and `calls`: what is missing is null.
GIVEN = {
    "number": "integer",
    "id": "uuid",
    "claim": "uuid",
    "wakeups": "integer",
    "turn_before": "integer",
    "turn": "integer",
    "call_count": "integer",
    "is_last": "boolean",
    "output": "text",
    "is_parked": "boolean",
    "is_due": "boolean",
    "is_loaded": "boolean",
    "has_rows": "boolean",
    "position_start": "integer",
    "position_end": "integer",
    "clock_at": "timestamptz",
    "log": "text",
}
CALLS = {
    "number": "integer",
    "call_id": "integer",
    "turn": "integer",
    "kind": "text",
    "function": "text",
    "executor": "text",
    "args": "text",
    "kwargs": "text",
    "position_start": "integer",
    "position_end": "integer",
    "result": "text",
    "due_in": "double precision",
    "delivered_turn": "integer",
    "started_at": "timestamptz",
    "finished_at": "timestamptz",
    "progress": "double precision",
    "progress_message": "text",
}


def execution_row(number: int, outcome: TurnResult, calls: Sequence[NewCall]) -> dict[str, Any]:
    execution, ending = outcome.execution, outcome.ending
    row: dict[str, Any] = {
        "number": number,
        "id": execution.id.hex,
        "claim": execution.claim,
        "wakeups": execution.wakeups,
        "turn_before": execution.turn,
        "turn": outcome.turn,
        "call_count": execution.call_count + len(calls),
    }
    if isinstance(ending, Completed):
        row |= {"is_last": True, "output": ending.output, "has_rows": not outcome.is_clean}
    elif not outcome.holds:
        is_due = any(call.answer is not None and call.delivered_turn is None for call in calls)
        position = outcome.position
        row |= {
            "is_parked": True,
            "is_due": is_due,
            "position_start": position.start,
            "position_end": position.end,
        }
    if outcome.loaded_turn is not None:
        row["is_loaded"] = True
    if outcome.clock_at is not None:
        row["clock_at"] = outcome.clock_at
    if log := outcome.log:
        row["log"] = log
    return row


def call_row(number: int, call: NewCall) -> dict[str, Any]:
    request, answer = call.request, call.answer
    row: dict[str, Any] = {
        "number": number,
        "call_id": request.call_id,
        "turn": call.turn,
        "kind": request.kind,
        "function": request.function,
        "executor": call.executor,
        "args": request.args,
        "kwargs": request.kwargs,
        "position_start": request.position.start,
        "position_end": request.position.end,
    }
    if answer is not None:
        row |= {"result": answer.result, "delivered_turn": call.delivered_turn}
    elif (due_in := call.due_in) is not None:
        row["due_in"] = due_in
    if call.started_at is not None:
        row["started_at"] = call.started_at
    if call.finished_at is not None:
        row["finished_at"] = call.finished_at
    if call.progress is not None or call.progress_message:
        row |= {"progress": call.progress, "progress_message": call.progress_message}
    return row


def columns_of(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in types.items())
