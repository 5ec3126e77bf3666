"""Calls on their way into the journal: what a turn asked for, before it has a row."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from durable_monty import codec
from durable_monty.functions import DEFAULT_EXECUTOR, FUNCTION_REGISTRY, MANUAL_EXECUTOR
from durable_monty.models import Call, CallStatus
from durable_monty.models.call import ENGINE
from durable_monty.operations import bulk
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.attempts import after, timeouts_of
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
        call = cls(execution_id, turn, request, _executor(request))
        if request.kind == "clock":
            call.answer, call.delivered_turn = Answer(request.result), turn
        return call

    def note_progress(self, progress: float | None, message: str) -> None:
        if progress is not None:
            self.progress = min(1.0, max(0.0, float(progress)))
        if message:
            self.progress_message = codec.clean_text(message, 500)

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
    def waits_long(self) -> bool:
        """For a person, or until a sleep is over."""
        return self.request.kind == "timer" or self.executor == MANUAL_EXECUTOR

    @property
    def idempotency_key(self) -> str:
        return f"{self.execution_id}:{self.call_id}"


def _executor(request: CallRequest) -> str:
    if request.kind != "function":
        return ENGINE
    function = FUNCTION_REGISTRY.get(request.function)
    return DEFAULT_EXECUTOR if function is None else function.executor


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
ANSWERED = (
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
    "error_traceback": "",
    "after_load": False,
    "failures": 0,
    "losses": 0,
    "job_id": "",
    "reason": "",
}
SAME_OF_ANSWERED = _SAME | {
    "status": CallStatus.COMPLETED,
    "error_type": "",
    "error_message": "",
}


@dataclass(frozen=True, slots=True)
class Writing:
    """What the rows of one transaction have in common."""

    now: datetime
    lease_ends: datetime
    token: uuid.UUID  # the claim of calls that are running
    worker_id: int | None
    using: str


@dataclass(slots=True)
class Journal:
    """Collects the new rows of a transaction."""

    writing: Writing
    answered: list[tuple[Any, ...]] = field(default_factory=list)
    others: list[tuple[Any, ...]] = field(default_factory=list)
    running: list[NewCall] = field(default_factory=list)
    is_due: bool = False  # some of them are to be run by whoever is free

    def add(
        self, calls: Iterable[NewCall], *, refusal: tuple[str, str] | None, is_last: bool
    ) -> None:
        for call in calls:
            if call.answer is not None:
                self.answered.append(answered_row(call, self.writing.worker_id, self.writing.now))
            else:
                self.others.append(self._unanswered(call, refusal, is_last))

    def write(self) -> None:
        using = self.writing.using
        bulk.insert(Call, ANSWERED, self.answered, constants=SAME_OF_ANSWERED, using=using)
        bulk.insert(Call, _OTHERS, self.others, constants=_SAME, using=using)
        if self.running:
            self._find_rows()

    def _unanswered(
        self, call: NewCall, refusal: tuple[str, str] | None, is_last: bool
    ) -> tuple[Any, ...]:
        now = self.writing.now
        state: dict[str, Any] = {"status": CallStatus.PENDING}
        if is_last:
            state = {"status": CallStatus.CANCELLED, "finished_at": now}
        elif refusal is not None:
            state = {"status": CallStatus.FAILED, "finished_at": now}
            state["error_type"], state["error_message"] = refusal
        elif call.started_at is not None:
            self.running.append(call)
            state = {"status": CallStatus.SUBMITTED, "due_at": self.writing.lease_ends}
            state["claim"] = self.writing.token
        else:
            state |= _schedule(call, now)
            self.is_due |= call.request.kind == "function"
        call.is_withdrawn = "finished_at" in state
        started = call.started_at is not None
        return (
            *_made(call, now),
            call.attempt if started else 0,
            self.writing.worker_id if started else None,
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
        rows = Call.objects.using(self.writing.using).filter(
            execution_id__in=ids, claim=self.writing.token
        )
        pks = {
            (row[0], row[1]): row[2] for row in rows.values_list("execution_id", "call_id", "pk")
        }
        for call in self.running:
            call.claimed = ClaimedCall(pks[call.execution_id, call.call_id], self.writing.token)


def answered_row(
    call: NewCall, worker_id: int | None, now: datetime | None = None
) -> tuple[Any, ...]:
    """In the order of `ANSWERED`. `now` for what has no times of its own, the clock's readings."""
    return (
        *_made(call, now),
        None if call.answer is None else call.answer.result,
        call.delivered_turn,
        0 if call.started_at is None else call.attempt,
        None if call.started_at is None else worker_id,
        call.started_at,
        call.finished_at or now,
    )


def _made(call: NewCall, now: datetime | None) -> tuple[Any, ...]:
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


def _schedule(call: NewCall, now: datetime) -> dict[str, datetime | None]:
    if call.request.delay is not None:
        return {"due_at": now + timedelta(seconds=call.request.delay)}
    timeouts = timeouts_of(call.function)
    start_by = after(now, timeouts.schedule_to_start)
    close_by = after(now, timeouts.schedule_to_close)
    return {
        "due_at": None if call.executor == MANUAL_EXECUTOR else now,
        "start_by": start_by,
        "close_by": close_by,
        "deadline_at": min((at for at in (start_by, close_by) if at), default=None),
    }
