"""Whether a source does what a journal says, and what it does there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from durable_monty.sandbox.journal import Limits, Position, RecordedTurn, Suspended, Workflow
from durable_monty.sandbox.replay import retrace


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Where a source stands after a journal, the place of each call, and what it printed."""

    position: Position
    calls: Mapping[int, Position]
    log: str


def rehearse(workflow: Workflow, journal: Sequence[RecordedTurn], limits: Limits) -> Rehearsal:
    """Runs a journal of one turn or more with a source that may be another one.

    `limits` are those of the whole run. Raises as `replay` does.
    """
    turns = list(retrace(workflow, journal, limits, _no_clock, may_end=False))
    outcome = turns[-1].outcome
    assert isinstance(outcome, Suspended)  # noqa: S101  (else it had raised)
    return Rehearsal(
        outcome.position,
        {call.call_id: call.position for turn in turns for call in turn.calls},
        "".join(turn.log for turn in turns),
    )


def _no_clock() -> NoReturn:
    raise AssertionError("the journal has every reading of the clock")
