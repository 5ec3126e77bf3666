"""The outcomes of claimed executions, before they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from durable_monty import codec
from durable_monty.models import Execution
from durable_monty.operations.new_calls import NewCall
from durable_monty.sandbox import Completed, Failed, Packed, Position, Suspended, Turn


class TurnResult(NamedTuple):
    """Turns that were run since the last commit; none, if only calls are to be written.

    `calls`: those that have no row yet. `delivered`: keys of the rows whose answers the last turn
    was given; `loaded_turn`: the turn that began from a loaded snapshot, if any did. `holds`: the
    worker keeps its claim, and the calls of the last turn that it runs stay inline, unless the
    row was changed by a request. `is_clean`: it has no row of an open call, and no
    snapshot. `dictionary`: one to store for later snapshots of its program. `faulted`: the turn
    after these failed for reasons of the host, and is to be run again.
    """

    execution: Execution
    turns: Sequence[Turn]
    calls: Sequence[NewCall] = ()
    delivered: Sequence[int] = ()
    loaded_turn: int | None = None
    packed: Packed | None = None
    dictionary: bytes | None = None
    clock_at: datetime | None = None
    holds: bool = False
    is_clean: bool = False
    faulted: bool = False

    @property
    def turn(self) -> int:
        """Returns the number of the last turn."""
        return self.execution.turn + len(self.turns)

    @property
    def ending(self) -> Completed | Failed | None:
        outcome = self.turns[-1].outcome if self.turns else None
        return None if isinstance(outcome, Suspended) else outcome

    @property
    def is_last(self) -> bool:
        return self.ending is not None

    @property
    def written(self) -> list[NewCall]:
        """Returns the calls to be written."""
        if not self.holds:
            return list(self.calls)
        # Only calls of the last turn may have no rows: a replay makes those again.
        return [call for call in self.calls if call.answer is not None or call.turn < self.turn]

    @property
    def log(self) -> str:
        """Returns the text that these turns printed."""
        text = "".join([turn.log for turn in self.turns])
        return codec.clean_text(text, 2**31) if text else ""

    @property
    def position(self) -> Position:
        """Returns the place in the source where it is suspended."""
        outcome = self.turns[-1].outcome
        assert isinstance(outcome, Suspended)  # noqa: S101  (others have none)
        return outcome.position


@dataclass(frozen=True, slots=True)
class Parked:
    """The execution had no answers to deliver."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class Mismatched:
    """Replay differs from the journal. The execution is paused, and nothing is lost."""

    execution: Execution
    why: str
    from_snapshot: bool = False


@dataclass(frozen=True, slots=True)
class Faulted:
    """The host failed, not the workflow. The turn is tried again later, but not too often.

    After too many tries the execution fails; if `is_ours`, as this code failed and not the sandbox
    or the database, it is paused. `at_once`: the next try need not wait.
    """

    execution: Execution
    why: str
    is_ours: bool = False
    at_once: bool = False


Outcome = TurnResult | Parked | Mismatched | Faulted
