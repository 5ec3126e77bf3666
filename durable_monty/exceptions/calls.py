"""Errors about a call."""

from __future__ import annotations

from durable_monty.exceptions.base import DurableMontyError
from durable_monty.exceptions.executions import IllegalTransition


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
