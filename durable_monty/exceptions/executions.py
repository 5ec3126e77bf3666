"""Errors about executions, their calls and the programs that they run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from durable_monty.exceptions.base import DurableMontyError

# One misspelt name can bring a complaint for every line that uses it.
_SHOWN = 20


class ExecutionNotFound(DurableMontyError, LookupError):
    def __init__(self, execution_id: object) -> None:
        self.execution_id = execution_id
        super().__init__(f"There is no execution {execution_id}.")


class KeyConflict(DurableMontyError):
    def __init__(self, key: str, execution_id: object, differing: Iterable[str]) -> None:
        self.key, self.execution_id, self.differing = key, execution_id, tuple(differing)
        super().__init__(
            f"The key {key!r} already belongs to execution {execution_id}, which differs in "
            f"{' and '.join(self.differing)}. Use another key, or start it with the same "
            f"{' and '.join(self.differing)}."
        )


class ExecutionNotCompleted(DurableMontyError):
    def __init__(self, execution_id: object, status: str, error: str = "") -> None:
        self.execution_id, self.status, self.error = execution_id, status, error
        super().__init__(
            f"Execution {execution_id} has no result: its status is {status}"
            + (f" ({error})." if error else ".")
        )


class WaitTimeout(DurableMontyError, TimeoutError):
    def __init__(self, execution_id: object, status: str, seconds: float) -> None:
        self.execution_id, self.status, self.seconds = execution_id, status, seconds
        super().__init__(
            f"Execution {execution_id} was still {status} after {seconds:g} seconds. "
            "Is a worker running (manage.py runworker)?"
        )


class IllegalTransition(DurableMontyError):
    """A row was not in a state that allows the change; nothing was changed.

    `function` is the function of the call, if it is known.
    """

    function = ""


class ExecutionFinished(IllegalTransition):
    def __init__(self, execution_id: object, status: str, wanted: str) -> None:
        self.execution_id, self.status, self.wanted = execution_id, status, wanted
        super().__init__(
            f"Execution {execution_id} is already {status}; it cannot become {wanted}."
        )


class ExecutionNotPaused(IllegalTransition):
    def __init__(self, execution_id: object, status: str) -> None:
        self.execution_id, self.status = execution_id, status
        super().__init__(f"Execution {execution_id} is {status}, not paused: nothing to resume.")


class ExecutionNotFailed(IllegalTransition):
    def __init__(self, execution_id: object, status: str) -> None:
        self.execution_id, self.status = execution_id, status
        super().__init__(
            f"Execution {execution_id} is {status}, not failed: there is nothing to resolve."
        )


class ExecutionNotResolved(IllegalTransition):
    def __init__(self, execution_id: object) -> None:
        self.execution_id = execution_id
        super().__init__(
            f"Execution {execution_id} was not resolved by hand: there is nothing to take back."
        )


class TurnNotForkable(IllegalTransition):
    def __init__(self, execution_id: object, turn: int, why: str) -> None:
        self.execution_id, self.turn, self.why = execution_id, turn, why
        super().__init__(
            f"Execution {execution_id} cannot be forked after turn {turn}: {why}. "
            "Nothing was changed."
        )


class NothingToRetry(IllegalTransition):
    def __init__(self, execution_id: object, status: str, why: str) -> None:
        self.execution_id, self.status, self.why = execution_id, status, why
        super().__init__(f"Execution {execution_id} is {status}, and there is {why}.")


class CallNotWaiting(IllegalTransition):
    def __init__(self, execution_id: object, call_id: int, status: str) -> None:
        self.execution_id, self.call_id, self.status = execution_id, call_id, status
        super().__init__(
            f"Call {call_id} of execution {execution_id} is {status}, and does not wait for a "
            "retry. Nothing was changed."
        )


class CallNotFound(DurableMontyError, LookupError):
    def __init__(self, execution_id: object, call_id: object) -> None:
        self.execution_id, self.call_id = execution_id, call_id
        super().__init__(f"Execution {execution_id} has no call {call_id}.")


class CallSettled(IllegalTransition):
    def __init__(self, execution_id: object, call_id: int, status: str, wanted: str) -> None:
        self.execution_id, self.call_id = execution_id, call_id
        self.status, self.wanted = status, wanted
        super().__init__(
            f"Call {call_id} of execution {execution_id} is already {status}; "
            f"it cannot become {wanted}. Nothing was changed."
        )


class LeaseLost(IllegalTransition):
    def __init__(self, execution_id: object, call_id: int) -> None:
        self.execution_id, self.call_id = execution_id, call_id
        super().__init__(
            f"This attempt no longer holds call {call_id} of execution {execution_id}: it timed "
            "out, or another has begun. Its answer was refused."
        )


class CallNotStarted(DurableMontyError):
    def __init__(self, execution_id: object, call_id: int) -> None:
        self.execution_id, self.call_id = execution_id, call_id
        super().__init__(
            f"Call {call_id} of execution {execution_id} has not been submitted, so no attempt is "
            "there to be answered. Only calls with executor='manual' have a URL before that."
        )


class InvalidWorkflow(DurableMontyError, ValueError):
    """The source, its functions or its inputs cannot be started.

    `complaints` are those of `OrchestratorService.check`, if the source is the reason.
    """

    complaints: tuple[Any, ...] = ()


class WrongSource(InvalidWorkflow):
    """The source can only fail; its `complaints` say where, and what to write instead."""

    def __init__(self, complaints: Iterable[Any]) -> None:
        self.complaints = tuple(complaints)
        lines = ["The workflow cannot work.", *map(str, self.complaints[:_SHOWN])]
        if len(self.complaints) > _SHOWN:
            lines.append(f"And {len(self.complaints) - _SHOWN} more.")
        super().__init__("\n".join(lines))


class InvalidInputs(InvalidWorkflow):
    """The inputs cannot be variables of that source with those functions."""
