"""What a workflow did in a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from durable_monty.exceptions import PlayFailed, WrongMoment


def shown(function: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Returns a call as it is written, for a message."""
    given = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
    text = ", ".join(given)
    return f"{function}({text[:200]}{'…' if len(text) > 200 else ''})"


def aware(what: str, moment: datetime) -> datetime:
    """Returns a time that a test gave. Raises `WrongMoment` if it has no zone."""
    if getattr(moment, "tzinfo", None) is None:
        raise WrongMoment(what, "give an aware time, as with tzinfo=datetime.UTC.")
    return moment


class PlayError(NamedTuple):
    """The error that a workflow ended with. The traceback has the lines of the workflow."""

    type: str
    message: str
    traceback: str

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


@dataclass(slots=True)
class PlayedCall:
    """A call of a function. `order` counts from 1; `at` is the time of the workflow.

    `answer` is the value that its `await` returned or the exception that it raised. It is None
    while `is_answered` is not set, as for calls that the workflow left behind at its end.
    """

    order: int
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    at: datetime
    answer: Any = None
    is_answered: bool = False

    def __str__(self) -> str:
        return shown(self.name, self.args, self.kwargs)


@dataclass(frozen=True, slots=True)
class Played:
    """The end of a workflow that `play` ran.

    `calls` are the calls of functions, in the order in which they were made, `log` is what it
    printed, and `now` is its time at the end.
    """

    result: Any = field(repr=False)
    error: PlayError | None
    calls: Sequence[PlayedCall]
    log: str
    now: datetime
    functions: Mapping[str, str] = field(repr=False)

    @property
    def output(self) -> Any:
        """What the workflow returned. Raises `PlayFailed` if it has failed."""
        if self.error is not None:
            raise PlayFailed(str(self.error), self.error.traceback)
        return self.result

    def calls_of(self, name: str) -> list[PlayedCall]:
        """Returns the calls of one function. Raises LookupError for one it cannot call."""
        if name not in self.functions:
            known = ", ".join(sorted(self.functions)) or "no function"
            raise LookupError(f"The workflow cannot call {name!r}, only {known}.")
        return [call for call in self.calls if call.name == name]
