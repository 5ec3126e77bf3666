"""Whether a source does what a journal says, and what it does there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from durable_monty.sandbox.journal import (
    Limits,
    Position,
    RecordedTurns,
    Suspended,
    Turn,
    Workflow,
)
from durable_monty.sandbox.replay import retrace


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Where a source stands after a journal, the place of each call, and what it printed."""

    position: Position
    calls: Mapping[int, Position]
    log: str


def rehearse(workflow: Workflow, journal: RecordedTurns, limits: Limits) -> Rehearsal:
    """Runs a journal of one turn or more with a source that may be another one.

    `limits` are those of the whole run. Raises as `replay` does.
    """
    positions: dict[int, Position] = {}
    printed: list[str] = []
    turn: Turn | None = None
    for turn in retrace(workflow, journal, limits, _no_clock, may_end=False):
        positions |= {call.call_id: call.position for call in turn.calls}
        printed.append(turn.log)
    assert turn is not None  # noqa: S101
    assert isinstance(turn.outcome, Suspended)  # noqa: S101  (else it had raised)
    return Rehearsal(turn.outcome.position, positions, "".join(printed))


def _no_clock() -> NoReturn:
    raise AssertionError("the journal has every reading of the clock")
