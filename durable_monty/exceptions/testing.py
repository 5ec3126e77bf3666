"""Errors of tests: what the kit in `durable_monty.testing` cannot do, and what a test forgot."""

from __future__ import annotations

from collections.abc import Iterable

from durable_monty.exceptions.base import DurableMontyError

# A workflow may have made thousands of calls.
_SHOWN = 20


class KitError(DurableMontyError, AssertionError):
    """A test used the test kit wrongly, or what it expected did not happen."""


class DjangoNotReady(KitError):
    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"{what} needs Django's settings and apps. Run the test with manage.py test or with "
            "pytest-django, or call django.setup() first."
        )


class NotPlayable(KitError):
    def __init__(self, given: object, why: str) -> None:
        self.given = given
        super().__init__(f"{given!r} cannot be played: {why}")


class UnknownAnswers(KitError):
    def __init__(self, names: Iterable[str], functions: Iterable[str]) -> None:
        self.names, self.functions = tuple(sorted(names)), tuple(sorted(functions))
        super().__init__(
            f"answers has {_listed(self.names)}, which this workflow cannot call. It can call "
            f"{_listed(self.functions) or 'no function'}."
        )


class NoAnswer(KitError):
    """A workflow made a call that the test has no answer for; `asked` are its calls so far."""

    def __init__(self, name: str, call: str, asked: Iterable[str], hint: str = "") -> None:
        self.name, self.call, self.asked, self.hint = name, call, tuple(asked), hint
        super().__init__(
            f"{call} has no answer. Give one with answers={{{name!r}: ...}}{hint}. "
            f"The workflow asked:{_lines(self.asked)}"
        )


class AnswersUsedUp(KitError):
    """A workflow called a function more often than the list of its answers is long."""

    def __init__(self, name: str, call: str, count: int, asked: Iterable[str]) -> None:
        self.name, self.call, self.count, self.asked = name, call, count, tuple(asked)
        super().__init__(
            f"{call} has no answer: answers[{name!r}] is a list of {count}, one for each call, "
            f"and all are used. A list as the value of every call is a function that returns it. "
            f"The workflow asked:{_lines(self.asked)}"
        )


class PlayFailed(KitError):
    """The output of a workflow was read that has failed."""

    def __init__(self, error: str, traceback: str) -> None:
        self.error, self.traceback = error, traceback
        super().__init__(
            f"The workflow has no output, because it failed: {error}"
            + (f"\n{traceback}" if traceback else "")
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _lines(calls: tuple[str, ...]) -> str:
    hidden = len(calls) - _SHOWN
    lines = [f"(and {hidden} before)"] if hidden > 0 else []
    return "".join(f"\n  {line}" for line in [*lines, *calls[-_SHOWN:]])
