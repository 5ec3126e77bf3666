"""Executions as JSON, with their journal. `docs/reference/values.md` has the format."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from durable_monty.models import Attempt, Call, Execution

FORMAT = "durable_monty.executions/1"

_AT_ONCE = 10
_TIMES = ("created_at", "started_at", "finished_at")
_EXECUTION = (
    "id",
    "name",
    "key",
    "status",
    "reason",
    "seed",
    "log",
    "turn",
    "deadline",
    "forked_turn",
    "handled_at",
    "resolution",
    *_TIMES,
)
_CALL = (
    "call_id",
    "kind",
    "function",
    "turn",
    "status",
    "delivered_turn",
    "after_load",
    "raised_as",
    "executor",
    "attempt",
    "idempotency_key",
    "reason",
    *_TIMES,
)
_ATTEMPT = ("number", "outcome", "started_at", "ended_at")


def export_json(execution_ids: Collection[uuid.UUID], using: str) -> Iterator[str]:
    """One JSON document in pieces: no more than a few calls are in memory."""
    yield f'{{"format": "{FORMAT}", "executions": ['
    executions = Execution.objects.using(using).filter(pk__in=execution_ids).order_by("pk")
    separator = ""
    for execution in executions.select_related("program").iterator(chunk_size=20):
        yield separator
        yield from _execution(execution, using)
        separator = ","
    yield "]}\n"


def _execution(execution: Execution, using: str) -> Iterator[str]:
    program = execution.program
    head = {
        **_columns(execution, _EXECUTION),
        "forked_from": execution.forked_from_id,
        "retried_by": execution.retried_by_id,
        "error": _error(execution),
        "inputs": _value(execution.inputs),
        "output": _value(execution.output),
        "program": {
            "sha256": program.sha256,
            "source": program.source,
            "functions": program.functions,
        },
    }
    yield f'{_text(head)[:-1]}, "calls": ['
    calls = Call.objects.using(using).filter(execution=execution).order_by("call_id")
    # By their keys: behind a pooler the database's own cursor would hold all of them.
    pks = list(calls.values_list("pk", flat=True))
    for at in range(0, len(pks), _AT_ONCE):
        some = pks[at : at + _AT_ONCE]
        # Not by `prefetch_related`: it ties each call to itself, so that calls that were written
        # stay in memory until the garbage collector runs.
        attempts = defaultdict(list)
        for attempt in Attempt.objects.using(using).filter(call__in=some).order_by("number"):
            attempts[attempt.call_id].append(attempt)
        for number, call in enumerate(calls.filter(pk__in=some), at):
            yield f"{',' if number else ''}{_text(_call(call, attempts[call.pk]))}"
    yield "]}"


def _call(call: Call, attempts: list[Attempt]) -> dict[str, Any]:
    return {
        **_columns(call, _CALL),
        "position": [call.position_start, call.position_end],
        "args": _value(call.args),
        "kwargs": _value(call.kwargs),
        "result": _value(call.result),
        "error": _error(call),
        "completed_by": call.completed_by_name or None,
        "attempts": [
            {**_columns(attempt, _ATTEMPT), "error": _error(attempt)} for attempt in attempts
        ],
    }


def _columns(row: Any, names: Collection[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _error(row: Execution | Call | Attempt) -> dict[str, str] | None:
    if not row.error_type and not row.error_message:
        return None
    return {
        "type": row.error_type,
        "message": row.error_message,
        "traceback": row.error_traceback,
    }


def _value(text: str | None) -> Any:
    """The codec's JSON, with its tags; text that is none, as it is."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder)
