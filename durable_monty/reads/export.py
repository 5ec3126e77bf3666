"""Executions as JSON, with their journals. `docs/reference/values.md` has the format."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from durable_monty.models import Attempt, Call, Execution

FORMAT = "durable_monty.executions/1"

# A value may have megabytes: so many calls are in memory at a time.
_AT_ONCE = 10
_TIMES = "created_at", "started_at", "finished_at"
_EXECUTION = (
    *"id name label key status reason seed log turn deadline forked_turn".split(),
    *"handled_at resolution".split(),
    *_TIMES,
)
_CALL = (
    *"call_id kind function turn status delivered_turn after_load raised_as executor".split(),
    *"attempt idempotency_key reason".split(),
    *_TIMES,
)
_ATTEMPT = "number", "outcome", "started_at", "ended_at"


def export_json(execution_ids: Collection[uuid.UUID], using: str) -> Iterator[str]:
    """Yields one JSON document in pieces."""
    yield f'{{"format": "{FORMAT}", "executions": ['
    executions = Execution.objects.using(using).filter(pk__in=execution_ids).order_by("pk")
    separator = ""
    for execution in executions.select_related("program", "version").iterator(chunk_size=20):
        yield separator
        yield from _execution(execution, using)
        separator = ","
    yield "]}\n"


def _execution(execution: Execution, using: str) -> Iterator[str]:
    program = execution.program
    head = {
        **_columns(execution, _EXECUTION),
        "version": execution.version_number,
        "forked_from": execution.forked_from_id,
        "retried_by": execution.retried_by_id,
        "inputs": _value(execution.inputs),
        "output": _value(execution.output),
        "program": {
            "sha256": program.sha256,
            "source": program.source,
            "functions": program.functions,
            "entry": program.entry,
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
            attempts[attempt.call_id].append(_columns(attempt, _ATTEMPT))
        for number, call in enumerate(calls.filter(pk__in=some), at):
            row = {
                **_columns(call, _CALL),
                "position": [call.position_start, call.position_end],
                "args": _value(call.args),
                "kwargs": _value(call.kwargs),
                "result": _value(call.result),
                "completed_by": call.completed_by_name or None,
                "attempts": attempts[call.pk],
            }
            yield f"{',' if number else ''}{_text(row)}"
    yield "]}"


def _columns(row: Execution | Call | Attempt, names: Collection[str]) -> dict[str, Any]:
    error = None
    if row.error_type or row.error_message:
        error = {
            "type": row.error_type,
            "message": row.error_message,
            "traceback": row.error_traceback,
        }
    return {**{name: getattr(row, name) for name in names}, "error": error}


def _value(text: str | None) -> Any:
    """Returns the codec's JSON, with its tags; text that is no JSON stays as it is."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder)
