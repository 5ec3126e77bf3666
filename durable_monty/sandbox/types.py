"""What goes into the sandbox and what comes out of it, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class Workflow:
    """A program and one run of it. `functions`: name in the source -> name in the registry;
    `inputs`: JSON text of a dict of variables."""

    source: str
    functions: Mapping[str, str]
    inputs: str
    seed: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds; `log_bytes` and `calls` are what is left of them."""

    memory: int
    turn_seconds: float
    calls: int
    log_bytes: int
    value_bytes: int
    processes: int


class Position(NamedTuple):
    """UTF-8 byte offsets of an expression in the source, `end` exclusive."""

    start: int
    end: int


class CallRequest(NamedTuple):
    """An outside call that a turn made.

    `kind` is a value of `Call.kind`; `args` and `kwargs` are JSON text; `delay` is the length of
    a timer in seconds; `result` is what the clock was answered at once, as JSON text.
    """

    call_id: int
    kind: str
    function: str
    args: str
    kwargs: str
    position: Position
    delay: float | None = None
    result: str | None = None


# The error type of an answer that asks the workflow to end. No class can have this name.
CANCELLED = "durable_monty.Cancelled"


class Settled(NamedTuple):
    """An answer to deliver: `result` as JSON text, or None for an error. `raised_as` is the type
    that the workflow sees, where the sandbox does not have `error_type`."""

    result: str | None = None
    error_type: str = ""
    error_message: str = ""
    raised_as: str = ""


class Suspended(NamedTuple):
    """Everything waits for answers; `position` is the `await` of the main task."""

    position: Position


@dataclass(frozen=True, slots=True)
class Completed:
    """`left`: calls of earlier turns that have no answer yet, if this process does not know where
    in the source they stand: a saved interpreter was loaded since."""

    output: str
    left: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """The workflow raised, or broke a limit. `limit`: one that depends on the host's state too
    (time, memory), so that the same turn may well pass when it is run again."""

    error_type: str
    message: str
    traceback: str = ""
    limit: bool = False


class Turn(NamedTuple):
    """One resume of the sandbox: what it asked for, printed, and came to."""

    calls: tuple[CallRequest, ...]
    log: str
    outcome: Suspended | Completed | Failed


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """A turn as the journal has it: `answers` it was given and `calls` it made, by call id."""

    turn: int
    answers: dict[int, Settled] = field(default_factory=dict)
    calls: dict[int, CallRequest] = field(default_factory=dict)
    after_load: bool = False


class RecordedTurns(Protocol):
    """Turns of a journal, in order: a sequence, or what reads them bit by bit."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[RecordedTurn]: ...
