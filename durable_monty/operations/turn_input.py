"""The input of the next turns of claimed executions, read for a batch in a few queries."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from durable_monty.models import Execution, Snapshot
from durable_monty.models.clock import database_now
from durable_monty.operations.journal import (
    Errors,
    StoredTurns,
    Undelivered,
    find_answers,
    find_errors,
    journals_of,
)
from durable_monty.sandbox import ERROR_TYPE, Interpreter, RecordedTurns

# A journal of more turns is read bit by bit, while it is replayed.
_LONG = 64


@dataclass(frozen=True, slots=True)
class TurnInput:
    """The input of one turn. `journal` has the turns since the snapshot."""

    execution: Execution
    answers: Sequence[Undelivered]
    snapshot: Snapshot | None
    now: datetime
    read_at: float
    journal: RecordedTurns = ()
    errors: Sequence[Errors] = ()  # before the snapshot, for a source that asks for them
    interpreter: Interpreter | None = None  # a live one

    @property
    def may_lack_calls(self) -> bool:
        """Whether a worker that vanished may have run calls of its last turn without rows."""
        return bool(self.execution.faults and self.execution.turn and self.journal)

    @property
    def is_second_try(self) -> bool:
        """Whether the run before this one came to its end, and failed."""
        return bool(self.execution.faults) and not self.execution.was_lost

    @property
    def has_long_journal(self) -> bool:
        """Whether its journal takes long to read and to replay."""
        return isinstance(self.journal, StoredTurns)

    def read(self) -> TurnInput:
        """Reads the journal now, in this thread, for a thread without a connection."""
        return replace(self, journal=tuple(self.journal)) if self.has_long_journal else self


def turn_inputs(
    executions: Sequence[Execution],
    using: str,
    live: Mapping[uuid.UUID, Interpreter] | None = None,
    now: datetime | None = None,
) -> list[TurnInput]:
    """Reads the input of the next turns, for all executions at once.

    `now` is the database's time, where it is known.
    """
    live = live or {}
    begun = [execution.pk for execution in executions if execution.turn]
    answers = find_answers(begun, using) if begun else {}
    cold = [pk for pk in begun if pk not in live]
    snapshots = Snapshot.objects.using(using).in_bulk(cold) if cold else {}
    now, read_at = now or database_now(using), time.monotonic()
    missing: dict[uuid.UUID, range] = {}  # the turns since the snapshot
    for execution in executions:
        if execution.turn and execution.pk not in live:
            snapshot = snapshots.get(execution.pk)
            if snapshot is not None and snapshot.turn > execution.turn:
                del snapshots[execution.pk]  # restored from an older backup
                snapshot = None
            # Without answers a turn is run only after a loss.
            if answers.get(execution.pk) or execution.faults:
                after = 0 if snapshot is None else snapshot.turn
                missing[execution.pk] = range(after + 1, execution.turn + 1)
    short = {pk: turns for pk, turns in missing.items() if len(turns) <= _LONG}
    journals: dict[uuid.UUID, RecordedTurns] = {
        pk: StoredTurns(pk, turns, using) for pk, turns in missing.items() if pk not in short
    }
    if short:
        journals |= journals_of(short, using)
    asking = {
        execution.pk: snapshots[execution.pk].turn
        for execution in executions
        if execution.pk in snapshots and ERROR_TYPE in execution.program.source
    }
    errors = find_errors(asking, using) if asking else {}
    return [
        TurnInput(
            execution,
            answers.get(execution.pk, ()),
            snapshots.get(execution.pk),
            now,
            read_at,
            journals.get(execution.pk, ()),
            errors.get(execution.pk, ()),
            live.get(execution.pk),
        )
        for execution in executions
    ]


def input_alone(execution: Execution, using: str) -> TurnInput:
    """Reads the input of a claimed execution whose last run failed or was lost."""
    (given,) = turn_inputs([execution], using)
    return from_journal(given, using) if given.is_second_try else given


def from_journal(given: TurnInput, using: str) -> TurnInput:
    """Returns the same input, for a replay of the whole journal."""
    execution = given.execution
    journal = StoredTurns(execution.pk, range(1, execution.turn + 1), using)
    return replace(given, snapshot=None, journal=journal, errors=(), interpreter=None)
