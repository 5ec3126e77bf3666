"""The rows that the statement of a commit is given: one for each execution and new call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from durable_monty.operations.call_rows import row_of
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.outcomes import TurnResult
from durable_monty.sandbox import Completed

# The types of an execution's values, as JSON has none. A missing value is null.
TURN = {
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


def turn_row(number: int, outcome: TurnResult, calls: Sequence[NewCall]) -> dict[str, Any]:
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
    """Returns the row of a call. The server adds `due_in` seconds to its own time."""
    row = row_of(call)
    row["number"] = number
    if call.answer is None and call.due_in is not None:
        row["due_in"] = call.due_in
    return row
