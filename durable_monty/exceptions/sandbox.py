"""Errors of the sandbox, and of values that cannot enter it, leave it or be stored."""

from __future__ import annotations

from durable_monty.durations import LONGEST_TEXT
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


class UnstorableValue(DurableMontyError, ValueError):
    """A value cannot be written to the journal. `path` leads to the offending part."""

    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"{path}: {why}")


class CorruptValue(DurableMontyError, ValueError):
    """Stored text was not written by `codec.encode`, or was damaged since."""


class InvalidDuration(DurableMontyError, ValueError):
    def __init__(self, what: str, value: object) -> None:
        self.what, self.value = what, value
        super().__init__(f"{what} must be from 0 to {LONGEST_TEXT}, not {value!r}.")


class InvalidValue(DurableMontyError, ValueError):
    """A value in a request cannot be decoded. `path` leads to the offending part."""

    def __init__(self, path: str, why: object) -> None:
        self.path, self.why = path, why
        super().__init__(f"{path}: {why}")
