"""What the next turns of claimed executions need, read for a batch in a few queries."""

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
    answers_of,
    errors_before,
    journals_of,
)
from durable_monty.sandbox import ERROR_TYPE, Interpreter, RecordedTurns

# Turns: a longer journal is read bit by bit, while it is replayed.
_LONG = 64


@dataclass(frozen=True, slots=True)
class TurnInput:
    """All that one turn needs. `journal` is read only where the snapshot does not serve."""

    execution: Execution
    answers: Sequence[Undelivered]
    snapshot: Snapshot | None
    now: datetime
    read_at: float
    journal: RecordedTurns = ()
    errors: Sequence[Errors] = ()  # before the snapshot, for a source that asks for them
    interpreter: Interpreter | None = None  # one that stands there already

    @property
    def may_lack_calls(self) -> bool:
        """A worker that vanished may have run it, with inline calls of its last turn."""
        return bool(self.execution.faults and self.execution.turn and self.journal)

    @property
    def is_second_try(self) -> bool:
        """Whether the run before this one came to its end, and failed."""
        return bool(self.execution.faults) and not self.execution.was_lost

    @property
    def needs_care(self) -> bool:
        """Whether to read and to replay its journal takes long."""
        return isinstance(self.journal, StoredTurns)

    def read(self) -> TurnInput:
        """Reads the journal now, in this thread, for a thread without a connection."""
        return replace(self, journal=tuple(self.journal)) if self.needs_care else self


def turn_inputs(
    executions: Sequence[Execution],
    using: str,
    live: Mapping[uuid.UUID, Interpreter] | None = None,
    now: datetime | None = None,
) -> list[TurnInput]:
    """What the next turns need, read for all of them at once. `now`: the database's time, where it
    is known."""
    live = live or {}
    begun = [execution.pk for execution in executions if execution.turn]
    answers = answers_of(begun, using) if begun else {}
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
            # Nothing is run without answers, but after a loss.
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
    errors = errors_before(asking, using) if asking else {}
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
    """The next turn of a claimed execution whose last run failed or was lost."""
    (step,) = turn_inputs([execution], using)
    return from_journal(step, using) if step.is_second_try else step


def from_journal(step: TurnInput, using: str) -> TurnInput:
    execution = step.execution
    journal = StoredTurns(execution.pk, range(1, execution.turn + 1), using)
    return replace(step, snapshot=None, journal=journal, errors=(), interpreter=None)
