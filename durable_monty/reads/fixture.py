"""Executions as fixtures for tests: what their replay needs, and nothing about people."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection
from typing import Any

from durable_monty.models import Call, Execution

FORMAT = "durable_monty.fixture/1"
_EXECUTION = "name", "status", "seed", "turn"
_CALL = (
    "call_id",
    "kind",
    "function",
    "turn",
    "status",
    "delivered_turn",
    "after_load",
    "raised_as",
)


def fixture_json(execution_ids: Collection[uuid.UUID], using: str) -> str:
    """Returns a JSON document whose values are the codec's, as in an export."""
    executions = Execution.objects.using(using).filter(pk__in=execution_ids).order_by("pk")
    found = [
        recording_of(execution, using)
        for execution in executions.select_related("program", "version")
    ]
    return json.dumps({"format": FORMAT, "executions": found}, indent=1) + "\n"


def recording_of(execution: Execution, using: str) -> dict[str, Any]:
    """Returns an execution as a fixture has it."""
    program = execution.program
    calls = Call.objects.using(using).filter(execution=execution).order_by("call_id")
    return {
        "id": str(execution.pk),
        **{name: getattr(execution, name) for name in _EXECUTION},
        "version": execution.version_number,
        "program": {
            "source": program.source,
            "functions": program.functions,
            "entry": program.entry,
        },
        "inputs": _value(execution.inputs),
        "output": _value(execution.output),
        "error": _error(execution),
        "calls": [
            {
                **{name: getattr(call, name) for name in _CALL},
                "position": [call.position_start, call.position_end],
                "args": _value(call.args),
                "kwargs": _value(call.kwargs),
                "result": _value(call.result),
                "error": _error(call),
            }
            for call in calls.iterator(chunk_size=500)
        ],
    }


def _value(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _error(row: Execution | Call) -> dict[str, str] | None:
    if not row.error_type:
        return None
    return {"type": row.error_type, "message": row.error_message}
