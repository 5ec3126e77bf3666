"""Calls on their way into the journal: what a turn asked for, before it has a row."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from durable_monty.durations import later
from durable_monty.functions import MANUAL_EXECUTOR
from durable_monty.models import Call, CallStatus
from durable_monty.models.call import ENGINE
from durable_monty.operations import bulk
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.attempts import executor_of, schedule
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


# Written as they are:
_MADE = (
    "execution_id",
    "call_id",
    "kind",
    "function",
    "args",
    "kwargs",
    "position_start",
    "position_end",
    "turn",
    "executor",
    "created_at",
    "progress",
    "progress_message",
)
_ANSWERED = (
    *_MADE,
    "result",
    "delivered_turn",
    "attempt",
    "worker_id",
    "started_at",
    "finished_at",
)
_OTHERS = (
    *_MADE,
    "attempt",
    "worker_id",
    "started_at",
    "finished_at",
    "status",
    "error_type",
    "error_message",
    "due_at",
    "claim",
    "start_by",
    "close_by",
    "deadline_at",
)
_SAME: dict[str, Any] = {
    "raised_as": "",
    "error_traceback": "",
    "after_load": False,
    "failures": 0,
    "losses": 0,
    "job_id": "",
    "reason": "",
    "completed_by_name": "",
}
SAME_OF_ANSWERED = _SAME | {
    "status": CallStatus.COMPLETED,
    "error_type": "",
    "error_message": "",
}


@dataclass(slots=True)
class Journal:
    """Collects the new rows of a transaction. `lease_ends`: that of calls which are running."""

    now: datetime
    lease_ends: datetime
    using: str
    token: uuid.UUID = field(default_factory=uuid.uuid4)  # the claim of calls that are running
    answered: list[tuple[Any, ...]] = field(default_factory=list)
    others: list[tuple[Any, ...]] = field(default_factory=list)
    running: list[NewCall] = field(default_factory=list)
    is_due: bool = False  # some of them are to be run by whoever is free

    def add(
        self,
        calls: Iterable[NewCall],
        worker_id: int | None,
        refusal: tuple[str, str] | None = None,
        *,
        is_last: bool = False,
    ) -> None:
        """`worker_id`: who runs those that have begun; `refusal`: what those without an answer
        get."""
        for call in calls:
            if call.answer is not None:
                self.answered.append(_answered_row(call, worker_id, self.now))
            else:
                state = self._state(call, refusal, is_last=is_last)
                self.others.append(self._unanswered(call, worker_id, state))

    def write(self) -> None:
        bulk.insert(Call, _ANSWERED, self.answered, constants=SAME_OF_ANSWERED, using=self.using)
        bulk.insert(Call, _OTHERS, self.others, constants=_SAME, using=self.using)
        if self.running:
            self._find_rows()

    def _state(
        self, call: NewCall, refusal: tuple[str, str] | None, *, is_last: bool
    ) -> dict[str, Any]:
        if is_last:
            return {"status": CallStatus.CANCELLED, "finished_at": self.now}
        if refusal is not None:
            error_type, message = refusal
            return {
                "status": CallStatus.FAILED,
                "finished_at": self.now,
                "error_type": error_type,
                "error_message": message,
            }
        if call.started_at is not None:
            self.running.append(call)
            return {
                "status": CallStatus.SUBMITTED,
                "due_at": self.lease_ends,
                "claim": self.token,
            }
        state: dict[str, Any] = {"status": CallStatus.PENDING}
        if call.request.delay is not None:
            return state | {"due_at": later(self.now, call.request.delay)}
        self.is_due |= call.request.kind == "function"
        return state | schedule(call.function, call.executor, self.now)

    def _unanswered(
        self, call: NewCall, worker_id: int | None, state: dict[str, Any]
    ) -> tuple[Any, ...]:
        call.is_withdrawn = "finished_at" in state
        started = call.started_at is not None
        return (
            *_made(call, self.now),
            call.attempt if started else 0,
            worker_id if started else None,
            call.started_at,
            state.get("finished_at"),
            state["status"],
            state.get("error_type", ""),
            state.get("error_message", ""),
            state.get("due_at"),
            state.get("claim"),
            state.get("start_by"),
            state.get("close_by"),
            state.get("deadline_at"),
        )

    def _find_rows(self) -> None:
        """The claims by which running calls are answered from now on."""
        ids = {call.execution_id for call in self.running}
        rows = Call.objects.using(self.using).filter(execution_id__in=ids, claim=self.token)
        pks = {
            (row[0], row[1]): row[2] for row in rows.values_list("execution_id", "call_id", "pk")
        }
        for call in self.running:
            pk = pks[call.execution_id, call.call_id]
            call.claimed = ClaimedCall(pk, self.token, call=call)


def _answered_row(call: NewCall, worker_id: int | None, now: datetime) -> tuple[Any, ...]:
    """In the order of `_ANSWERED`. `now` for the clock's readings, which have no times."""
    return (
        *_made(call, now),
        None if call.answer is None else call.answer.result,
        call.delivered_turn,
        0 if call.started_at is None else call.attempt,
        None if call.started_at is None else worker_id,
        call.started_at,
        call.finished_at or now,
    )


def _made(call: NewCall, now: datetime) -> tuple[Any, ...]:
    request = call.request
    return (
        call.execution_id,
        request.call_id,
        request.kind,
        request.function,
        request.args,
        request.kwargs,
        request.position.start,
        request.position.end,
        call.turn,
        call.executor,
        call.started_at or now,
        call.progress,
        call.progress_message,
    )
