"""Reading the journal of executions, in a fixed number of queries for a batch."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import Q

from durable_monty.kinds import kind_stored_as
from durable_monty.models import Call, CallStatus
from durable_monty.models.call import ANSWERED, CallQuerySet
from durable_monty.operations.sql import adapted, as_uuid, names_of, placeholders, table_of
from durable_monty.sandbox import CallRequest, Position, RecordedTurn, Settled

# The turns that are read at first; the bytes at a time from then on, unless a turn has more; and
# the rows of a query.
_TURNS_FIRST, _BYTES_AT_ONCE, _ROWS_AT_ONCE = 16, 4 * 1024 * 1024, 500

Errors = list[Settled]


class Undelivered(NamedTuple):
    """An answer that no turn was given yet."""

    # Not a `Call`: Django takes as long to make one as PostgreSQL to find it.
    execution_id: uuid.UUID
    pk: int
    call_id: int
    status: str
    result: str | None
    error_type: str
    error_message: str
    raised_as: str


def find_answers(
    execution_ids: Collection[uuid.UUID], using: str
) -> dict[uuid.UUID, list[Undelivered]]:
    """Returns the undelivered answers of executions, in `call_id` order."""
    answers: dict[uuid.UUID, list[Undelivered]] = defaultdict(list)
    connection = connections[using]
    with connection.cursor() as cursor:
        # Not by the ORM, which takes four times as long, and a worker asks in each round.
        cursor.execute(
            f"SELECT {', '.join(names_of(Call, Undelivered._fields, connection))} "
            f"FROM {table_of(Call, connection)} "
            f"WHERE execution_id IN ({placeholders(list(execution_ids))}) "
            f"AND status IN ({placeholders(ANSWERED)}) "
            "AND delivered_turn IS NULL AND finished_at IS NOT NULL "
            "ORDER BY execution_id, call_id",
            adapted((*execution_ids, *ANSWERED), connection),
        )
        for key, *answer in cursor.fetchall():
            pk = as_uuid(key)
            answers[pk].append(Undelivered(pk, *answer))
    return answers


def find_errors(turns: Mapping[uuid.UUID, int], using: str) -> dict[uuid.UUID, list[Errors]]:
    """Returns the errors that each execution was given up to a turn, one list for each turn."""
    calls = Call.objects.using(using).filter(
        execution_id__in=list(turns), status=CallStatus.FAILED, delivered_turn__isnull=False
    )
    errors: dict[uuid.UUID, list[Errors]] = {pk: [] for pk in turns}
    rows = calls.only(*_ERROR).order_by("execution_id", "delivered_turn")
    for (pk, turn), given in groupby(rows, lambda row: (row.execution_id, row.delivered_turn)):
        if turn <= turns[pk]:
            errors[pk].append([settled(row) for row in given])
    return errors


@dataclass(frozen=True, slots=True)
class StoredTurns:
    """Consecutive turns of a journal."""

    # They are read during the iteration, because a journal can be larger than the memory.
    execution_id: uuid.UUID
    turns: range
    using: str

    def __len__(self) -> int:
        return len(self.turns)

    def __iter__(self) -> Iterator[RecordedTurn]:
        if not self.turns:
            return
        needed: dict[int | None, list[int]] = defaultdict(list)
        calls = Call.objects.using(self.using).filter(execution_id=self.execution_id)
        calls = calls.order_by("call_id")
        for pk, turn, delivered_turn in calls.values_list("pk", "turn", "delivered_turn"):
            for wanted in {turn, delivered_turn}:
                needed[wanted].append(pk)
        count, turns = _TURNS_FIRST, self.turns
        while turns:
            recorded = {turn: RecordedTurn(turn, {}, {}) for turn in turns[:count]}
            size = self._read(calls, recorded, [pk for turn in recorded for pk in needed[turn]])
            yield from recorded.values()
            turns = turns[count:]
            count = max(1, min(2 * count, count * _BYTES_AT_ONCE // max(1, size)))

    @staticmethod
    def _read(calls: CallQuerySet, recorded: dict[int, RecordedTurn], pks: list[int]) -> int:
        """Fills turns with their calls and answers, and returns the size of the values."""
        size, loads = 0, set[int]()
        for at in range(0, len(pks), _ROWS_AT_ONCE):
            rows = calls.filter(pk__in=pks[at : at + _ROWS_AT_ONCE])
            for call in rows.values_list(*_JOURNAL, named=True).iterator():
                size += len(call.args) + len(call.kwargs) + len(call.result or "")
                if note_call(call, recorded.get(call.turn), recorded.get(call.delivered_turn)):
                    loads.add(call.delivered_turn)
        for turn in loads:
            recorded[turn] = replace(recorded[turn], after_load=True)
        return size


def journals_of(
    wanted: Mapping[uuid.UUID, range], using: str
) -> dict[uuid.UUID, list[RecordedTurn]]:
    """Returns the recorded turns of each execution, those with these numbers."""
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
            pk = call.execution_id
            given = recorded.get((pk, call.delivered_turn))
            if note_call(call, recorded.get((pk, call.turn)), given):
                loads.add((pk, call.delivered_turn))
    return {
        pk: [replace(recorded[pk, turn], after_load=(pk, turn) in loads) for turn in turns]
        for pk, turns in wanted.items()
    }


_ERROR = ("execution_id", "delivered_turn", "status", "error_type", "error_message", "raised_as")


def note_call(call: Any, made: RecordedTurn | None, given: RecordedTurn | None) -> bool:
    """Adds a call to the turn that made it and to the turn that was given its answer.

    Returns whether the latter began from a load.
    """
    if made is not None:
        made.calls[call.call_id] = request_of(call)
    if given is None or kind_stored_as(call.kind).is_instant:
        return False
    given.answers[call.call_id] = settled(call)
    return bool(call.after_load)


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
    """Returns the answer of a `Call`, or of a row that has the columns of an answer."""
    if call.status == CallStatus.COMPLETED:
        return Settled(result=call.result)
    return Settled(None, call.error_type, call.error_message, call.raised_as)


def request_of(call: Any) -> CallRequest:
    return CallRequest(
        call_id=call.call_id,
        kind=call.kind,
        function=call.function,
        args=call.args,
        kwargs=call.kwargs,
        position=Position(call.position_start, call.position_end),
        result=call.result if kind_stored_as(call.kind).is_instant else None,
    )
