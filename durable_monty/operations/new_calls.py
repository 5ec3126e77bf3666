"""Calls on their way into the journal: what a turn asked for, before it has a row."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from durable_monty.functions import MANUAL_EXECUTOR
from durable_monty.models.call import ENGINE
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.attempts import executor_of
from durable_monty.sandbox import CallRequest


@dataclass(slots=True, eq=False)
class NewCall:
    """A call that `turn` made.

    It is *young* while a worker runs it that holds its execution: its row is written together
    with its answer, or as that of a running call once it has grown old.
    """

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

    # What a running function is told of its call, as a row would tell it.
    attempt: int = 1
    failures: int = 0
    attempt_end_by: datetime | None = None
    close_by: datetime | None = None

    @classmethod
    def of(cls, execution_id: uuid.UUID, turn: int, request: CallRequest) -> NewCall:
        is_ours = request.kind != "function"
        executor = ENGINE if is_ours else executor_of(request.function)
        call = cls(execution_id, turn, request, executor)
        if request.kind == "clock":
            call.answer, call.delivered_turn = Answer(request.result), turn
        return call

    @property
    def call_id(self) -> int:
        return self.request.call_id

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
        """For a person, or until a sleep is over."""
        return self.request.kind == "timer" or self.executor == MANUAL_EXECUTOR

    @property
    def idempotency_key(self) -> str:
        return f"{self.execution_id}:{self.call_id}"
