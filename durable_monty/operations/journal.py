"""Reading the journal of executions, in a fixed number of queries for a batch."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple, cast

from django.db import connections
from django.db.models import Q

from durable_monty.models import Call, CallKind, CallStatus
from durable_monty.models.call import ANSWERED
from durable_monty.operations import bulk
from durable_monty.operations.prepared import Statement, rows_of
from durable_monty.sandbox import CallRequest, Kind, Position, RecordedTurn, Settled

Errors = list[Settled]


class Undelivered(NamedTuple):
    """An answer that no turn was given yet. Not a `Call`: Django takes as long to make one as
    PostgreSQL to find it."""

    execution_id: uuid.UUID
    pk: int
    call_id: int
    status: str
    result: str | None
    error_type: str
    error_message: str
    raised_as: str


def answers_of(
    execution_ids: Collection[uuid.UUID], using: str
) -> dict[uuid.UUID, list[Undelivered]]:
    """In `call_id` order."""
    answers: dict[uuid.UUID, list[Undelivered]] = defaultdict(list)
    rows: Iterable[Any]
    if connections[using].vendor == "postgresql":
        rows = rows_of(*_undelivered(using), [list(execution_ids)], using=using)
    else:
        calls = Call.objects.using(using).filter(execution_id__in=execution_ids).undelivered()
        rows = calls.order_by("execution_id", "call_id").values_list(*Undelivered._fields)
    for answer in map(Undelivered._make, rows):
        answers[answer.execution_id].append(answer)
    return answers


@lru_cache(maxsize=8)
def _undelivered(using: str) -> Statement:
    connection = connections[using]
    columns = ", ".join(bulk.names_of(Call, Undelivered._fields, connection))
    sql = f"""
SELECT {columns} FROM {bulk.table_of(Call, connection)}
WHERE execution_id = ANY({bulk.array_of("uuid")}) AND status IN ({bulk.texts_of(ANSWERED)})
AND delivered_turn IS NULL AND finished_at IS NOT NULL
ORDER BY execution_id, call_id
"""  # noqa: S608
    return sql, ("uuid[]",)


def errors_before(turns: Mapping[uuid.UUID, int], using: str) -> dict[uuid.UUID, list[Errors]]:
    """Returns the errors that were delivered up to a turn, of each execution and turn by turn."""
    calls = Call.objects.using(using).filter(
        execution_id__in=list(turns), status=CallStatus.FAILED, delivered_turn__isnull=False
    )
    errors: dict[uuid.UUID, list[Errors]] = {pk: [] for pk in turns}
    rows = calls.only(*_ERROR).order_by("execution_id", "delivered_turn")
    for (pk, turn), given in groupby(rows, lambda row: (row.execution_id, row.delivered_turn)):
        if turn <= turns[pk]:
            errors[pk].append([settled(row) for row in given])
    return errors


def turns_of(execution_id: uuid.UUID, upto: int, using: str, after: int = 0) -> list[RecordedTurn]:
    """The recorded turns `after + 1` .. `upto`."""
    return journals_of({execution_id: range(after + 1, upto + 1)}, using)[execution_id]


def journals_of(
    wanted: Mapping[uuid.UUID, range], using: str
) -> dict[uuid.UUID, list[RecordedTurn]]:
    """The recorded turns of these numbers, of each execution."""
    recorded = {
        (pk, turn): RecordedTurn(turn, {}, {}) for pk, turns in wanted.items() for turn in turns
    }
    first = min((turns.start for turns in wanted.values() if turns), default=1)
    loads: set[tuple[uuid.UUID, int]] = set()
    if recorded:
        rows = Call.objects.using(using).filter(execution_id__in=list(wanted))
        if first > 1:
            rows = rows.filter(Q(turn__gte=first) | Q(delivered_turn__gte=first))
        for call in rows.order_by("execution_id", "call_id").values_list(*_JOURNAL, named=True):
            if made := recorded.get((call.execution_id, call.turn)):
                made.calls[call.call_id] = request_of(call)
            if call.delivered_turn is None or call.kind == CallKind.CLOCK:
                continue
            if given := recorded.get((call.execution_id, call.delivered_turn)):
                given.answers[call.call_id] = settled(call)
                if call.after_load:
                    loads.add((call.execution_id, call.delivered_turn))
    return {
        pk: [replace(recorded[pk, turn], after_load=(pk, turn) in loads) for turn in turns]
        for pk, turns in wanted.items()
    }


_ERROR = ("execution_id", "delivered_turn", "status", "error_type", "error_message", "raised_as")
_JOURNAL = (
    "execution_id",
    "call_id",
    "kind",
    "function",
    "args",
    "kwargs",
    "position_start",
    "position_end",
    "turn",
    "delivered_turn",
    "after_load",
    "status",
    "result",
    "error_type",
    "error_message",
    "raised_as",
)


def settled(call: Any) -> Settled:
    """`call`: a `Call`, or a row with the columns of its answer."""
    if call.status == CallStatus.COMPLETED:
        return Settled(result=call.result)
    return Settled(None, call.error_type, call.error_message, call.raised_as)


def request_of(call: Any) -> CallRequest:
    return CallRequest(
        call_id=call.call_id,
        kind=cast("Kind", call.kind),
        function=call.function,
        args=call.args,
        kwargs=call.kwargs,
        position=Position(call.position_start, call.position_end),
        result=call.result if call.kind == CallKind.CLOCK else None,
    )
