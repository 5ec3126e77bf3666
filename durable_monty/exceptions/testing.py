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


class WrongAnswers(KitError):
    def __init__(self, given: str) -> None:
        self.given = given
        super().__init__(f"answers must be a dict of function names to answers, not {given}.")


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


class NoOpenCall(KitError):
    def __init__(self, function: str, open_calls: Iterable[str]) -> None:
        self.function, self.open_calls = function, tuple(open_calls)
        what = f"Open are:{_lines(self.open_calls)}" if self.open_calls else "None is open."
        super().__init__(
            f"No call of {function!r} is open, so none can be answered. Has "
            f"run_until_waiting() run the executions up to it? {what}"
        )


class SeveralOpenCalls(KitError):
    def __init__(self, function: str, open_calls: Iterable[str]) -> None:
        self.function, self.open_calls = function, tuple(open_calls)
        super().__init__(
            f"{len(self.open_calls)} calls of {function!r} are open. Choose one with "
            f"execution_id=, or with call_id= too:{_lines(self.open_calls)}"
        )


class StillWaiting(KitError):
    """Executions cannot come to their end, however much time passes; `why` says what is open."""

    def __init__(self, executions: Iterable[str]) -> None:
        self.executions = tuple(executions)
        super().__init__(
            "Time alone does not bring these executions to their end. Answer calls with answer() "
            f"or fake():{_lines(self.executions)}"
        )


class NeverEnds(KitError):
    def __init__(self, steps: int, executions: Iterable[str]) -> None:
        self.steps, self.executions = steps, tuple(executions)
        super().__init__(
            f"Time was moved {steps:,} times, to the end of a sleep or to the next attempt of a "
            f"call, and these executions go on. Use skip() for workflows that never "
            f"end:{_lines(self.executions)}"
        )


class CrashNeverCame(KitError):
    def __init__(self, functions: Iterable[str]) -> None:
        self.functions = tuple(sorted(functions))
        super().__init__(
            f"crash_here() was told to crash {_listed(self.functions)}, but the test ended before "
            "it ran so often."
        )


class NothingToCrash(KitError):
    def __init__(self, function: str) -> None:
        self.function = function
        super().__init__(
            f"Calls of {function!r} are answered by people: no process runs it that could crash."
        )


class FakeUsedUp(KitError):
    def __init__(self, function: str, call: str) -> None:
        self.function, self.call = function, call
        super().__init__(
            f"{call} has no answer: the side_effect of fake({function!r}) has no value left."
        )


class WrongMoment(KitError):
    def __init__(self, what: str, why: str) -> None:
        self.what = what
        super().__init__(f"{what}: {why}")


class NotAFixture(KitError):
    def __init__(self, fixture: str, why: str) -> None:
        self.fixture = fixture
        super().__init__(
            f"{fixture} is no fixture: {why}. Write one with `manage.py durable export ID "
            "--fixture --output FILE`."
        )


class FixtureDiffers(KitError):
    """Today's code does something else than an execution did that was recorded."""

    def __init__(self, fixture: str, why: str) -> None:
        self.fixture = fixture
        super().__init__(f"{fixture} cannot go on with this code. {why}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _lines(calls: tuple[str, ...]) -> str:
    hidden = len(calls) - _SHOWN
    lines = [f"(and {hidden} before)"] if hidden > 0 else []
    return "".join(f"\n  {line}" for line in [*lines, *calls[-_SHOWN:]])
