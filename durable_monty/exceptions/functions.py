"""Errors of functions: how they are registered, and what they raise themselves."""

from __future__ import annotations

from collections.abc import Iterable

from durable_monty.exceptions.base import DurableMontyError


class FunctionError(DurableMontyError):
    """A function was registered or named wrongly."""


class DuplicateFunction(FunctionError):
    def __init__(self, name: str, first: str, second: str) -> None:
        self.name, self.first, self.second = name, first, second
        super().__init__(
            f"The function name {name!r} is registered twice: in {first} and in {second}. "
            "Give one of them another name: @register_function('...')."
        )


class UnknownFunction(FunctionError):
    def __init__(self, name: str, why: str) -> None:
        self.name = name
        super().__init__(f"The function {name!r} is not available: {why}")


class FunctionNotPermitted(FunctionError):
    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(sorted(names))
        super().__init__(
            f"Source that staff wrote may not call {', '.join(self.names)}. Register it with "
            "admin=True, or give the user the permission durable_monty.call_any_function."
        )


# Workflows see the nearest builtin base of an exception, so functions raise a RuntimeError.
class NonRetryable(DurableMontyError, RuntimeError):
    """Raised by a function that failed for good, whatever its retry policy says.

    The workflow sees a RuntimeError with its message, or the exception that it was raised `from`.
    """


class RetryAfter(DurableMontyError, RuntimeError):
    """Raised by a function to be tried again in `seconds`, at most 30 days, if attempts are left.

    The workflow sees a RuntimeError with its message, or the exception that it was raised `from`.
    """

    def __init__(self, seconds: float | str, message: str = "") -> None:
        # The seconds of a Retry-After header are a text.
        self.seconds = max(0.0, float(seconds))
        super().__init__(message or f"The function asked to be tried again in {self.seconds:g} s.")


class TransactionLost(DurableMontyError, RuntimeError):
    """A function returned, but its writes had to be rolled back; `causes` say why."""

    def __init__(self, function: str, causes: Iterable[str]) -> None:
        self.function, self.causes = function, tuple(causes)
        super().__init__(
            f"{function}() {' and '.join(self.causes)}. What it wrote there was rolled back. Use "
            "transaction.atomic(), and catch errors of the database outside of it."
        )


class WrongUrlFunction(FunctionError):
    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"{name}() has a url, so the executor 'http' runs it, outside of any transaction: "
            "leave out executor and transactional."
        )


class RunsElsewhere(FunctionError):
    def __init__(self, name: str, url: str) -> None:
        self.name, self.url = name, url
        super().__init__(
            f"{name}() runs at {url} and has no body here: only workflows call it. In a test, put "
            "another function in its place, for example with unittest.mock.patch."
        )


class NoCurrentCall(DurableMontyError):
    def __init__(self) -> None:
        super().__init__(
            "current_call() works inside a registered function while a workflow's call runs it."
        )


class WrongArgument(FunctionError, TypeError):
    """A function's argument cannot become an instance of the class that its annotation names.

    The call fails with a TypeError, whatever the function's retry policy says.
    """

    def __init__(self, function: str, why: str) -> None:
        self.function, self.why = function, why
        super().__init__(f"{function}(): the argument {why}.")


class WrongResult(FunctionError, TypeError):
    """An answer given for a function cannot become an instance of the class that it returns."""

    def __init__(self, function: str, why: str) -> None:
        self.function, self.why = function, why
        super().__init__(f"{function}(): {why}.")


class CallCancelled(DurableMontyError):
    """Raised by `CallContext.check_cancelled` if nobody waits for the call any more."""
