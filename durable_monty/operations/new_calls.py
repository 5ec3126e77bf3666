"""Calls that a turn made and that have no rows yet."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from durable_monty.functions import policy_of
from durable_monty.kinds import Due, kind_of, kind_stored_as
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.sandbox import CallRequest


@dataclass(slots=True, eq=False)
class NewCall:
    """A call that `turn` made.

    It is *inline* while a worker runs it that keeps the claim of its execution: its row is
    written together with its answer, or as that of a running call after a while.
    """

    # Two thirds of the cost of a call was its row. The row lets others see the call and take it
    # over, which a function that returns within a tenth of a second does not need.

    execution_id: uuid.UUID
    turn: int
    request: CallRequest
    executor: str
    answer: Answer | None = None
    delivered_turn: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    progress: float | None = None
    progress_message: str = ""
    claimed: ClaimedCall | None = None  # once it has its row, if it is running then
    is_withdrawn: bool = False

    # For the context of the running function, as the columns of a row.
    attempt: int = 1
    failures: int = 0
    attempt_end_by: datetime | None = None
    close_by: datetime | None = None

    @classmethod
    def of(cls, execution_id: uuid.UUID, turn: int, request: CallRequest) -> NewCall:
        kind = kind_stored_as(request.kind)
        executor = kind.executor or policy_of(request).executor
        call = cls(execution_id, turn, request, executor)
        if kind.is_instant:
            call.answer, call.delivered_turn = Answer(request.result), turn
        return call

    @property
    def call_id(self) -> int:
        return self.request.call_id

    @property
    def kind(self) -> str:
        return self.request.kind

    @property
    def function(self) -> str:
        return self.request.function

    @property
    def args(self) -> str:
        return self.request.args

    @property
    def kwargs(self) -> str:
        return self.request.kwargs

    @property
    def is_open(self) -> bool:
        return self.answer is None and not self.is_withdrawn

    @property
    def waits_long(self) -> bool:
        """Returns whether it waits for something other than a worker, such as a person."""
        return kind_of(self).due is not Due.AT_ONCE

    @property
    def due_in(self) -> float | None:
        """Returns the seconds until a worker must run it; None: never."""
        return 0.0 if kind_of(self).due is Due.AT_ONCE else self.request.delay

    @property
    def idempotency_key(self) -> str:
        return f"{self.execution_id}:{self.call_id}"
