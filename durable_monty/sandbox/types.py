"""The data that go into the sandbox and come out of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

# The variable of a source with an entry.
INPUTS = "_inputs"


@dataclass(frozen=True, slots=True)
class Workflow:
    """A program and one run of it.

    `functions` maps names in the source to names in the registry; `inputs` is the JSON text of a
    dict. They are variables of the source; with an `entry`, the arguments of that function, which
    the source calls with the one variable `_inputs`.
    """

    source: str
    functions: Mapping[str, str]
    inputs: str
    seed: str
    entry: str = ""

    @property
    def variables(self) -> str:
        """The JSON text of the global variables."""
        return f'{{"{INPUTS}": {self.inputs}}}' if self.entry else self.inputs


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a run, in bytes and seconds; `log_bytes` and `calls` are what is left."""

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

    `kind` is a value of `Call.kind`. `args`, `kwargs` and `result` are JSON text. `delay` is the
    length of a timer in seconds, and `result` the answer that a clock got at once.
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
    """An answer to deliver: `result` as JSON text, or None for an error.

    `raised_as` is the type that the workflow sees if the sandbox does not have `error_type`.
    """

    result: str | None = None
    error_type: str = ""
    error_message: str = ""
    raised_as: str = ""


class Suspended(NamedTuple):
    """The workflow waits for answers; `position` is the `await` of its main task."""

    position: Position


@dataclass(frozen=True, slots=True)
class Completed:
    """The workflow came to its end, with `output` as JSON text.

    `left` are unanswered calls of earlier turns whose place in the source this process does not
    know, because a snapshot was loaded since.
    """

    output: str
    left: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """The workflow raised or broke a limit.

    `limit` says that it was one of time or memory, which depend on the host too: the same turn may
    pass when it is run again.
    """

    error_type: str
    message: str
    traceback: str = ""
    limit: bool = False


class Turn(NamedTuple):
    """One resume of the sandbox: its calls, what it printed, and its outcome."""

    calls: tuple[CallRequest, ...]
    log: str
    outcome: Suspended | Completed | Failed


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """A turn in the journal: the `answers` delivered to it and the `calls` it made, by call id."""

    turn: int
    answers: dict[int, Settled] = field(default_factory=dict)
    calls: dict[int, CallRequest] = field(default_factory=dict)
    after_load: bool = False


class RecordedTurns(Protocol):
    """The turns of a journal, in order: a sequence, or a reader that takes them bit by bit."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[RecordedTurn]: ...
