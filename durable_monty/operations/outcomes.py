"""What can become of a claimed execution, before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from durable_monty.models import Execution
from durable_monty.sandbox import Packed, Suspended, Turn


@dataclass(frozen=True, slots=True)
class Advanced:
    """A turn that was run. `delivered`: keys of the calls whose answers it was given;
    `loaded_turn`: the turn that began from a loaded snapshot, if any did."""

    execution: Execution
    turn: Turn
    delivered: Sequence[int] = ()
    loaded_turn: int | None = None
    packed: Packed | None = None
    clock_at: datetime | None = None

    @property
    def is_last(self) -> bool:
        return not isinstance(self.turn.outcome, Suspended)


@dataclass(frozen=True, slots=True)
class Parked:
    """There was nothing to run for."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class Mismatched:
    """Replay differs from the journal: to be paused, nothing is lost."""

    execution: Execution
    why: str
    from_snapshot: bool = False


@dataclass(frozen=True, slots=True)
class Faulted:
    """The host failed, not the workflow: to be tried again later. `counts`: too many of these
    fail the execution."""

    execution: Execution
    why: str
    counts: bool = True


Outcome = Advanced | Parked | Mismatched | Faulted
