"""Errors of the sandbox."""

from __future__ import annotations

from durable_monty.exceptions.base import DurableMontyError


class ReplayMismatch(DurableMontyError):
    """The source was run again on its journal, and did something else than before."""

    def __init__(self, turn: int, call_id: int | None, recorded: str, replayed: str) -> None:
        self.turn, self.call_id = turn, call_id
        self.recorded, self.replayed = recorded, replayed
        place = f"turn {turn}" + ("" if call_id is None else f", call {call_id}")
        super().__init__(
            f"Replay differs from the journal at {place}: recorded {recorded}, "
            f"replayed {replayed}."
        )


class SnapshotUnusable(DurableMontyError):
    """A snapshot cannot be loaded. The execution is rebuilt from its journal instead."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"The snapshot cannot be used: {why}.")


class HostFault(DurableMontyError):
    """The sandbox process failed, not the workflow (a crash, a limit, a protocol error)."""
