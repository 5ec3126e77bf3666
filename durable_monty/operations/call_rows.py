"""The rows of new calls: how they are written into the journal."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from durable_monty.durations import later
from durable_monty.kinds import kind_of
from durable_monty.models import Call, CallStatus
from durable_monty.operations import sql
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.close import closed
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.schedule import schedule

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
class CallRows:
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
        sql.insert(Call, _ANSWERED, self.answered, constants=SAME_OF_ANSWERED, using=self.using)
        sql.insert(Call, _OTHERS, self.others, constants=_SAME, using=self.using)
        if self.running:
            self._find_rows()

    def _state(
        self, call: NewCall, refusal: tuple[str, str] | None, *, is_last: bool
    ) -> dict[str, Any]:
        if is_last:
            return closed(None, self.now)
        if refusal is not None:
            return closed(Answer.of_error(*refusal), self.now)
        if call.started_at is not None:
            self.running.append(call)
            return {
                "status": CallStatus.SUBMITTED,
                "due_at": self.lease_ends,
                "claim": self.token,
            }
        self.is_due |= kind_of(call).takes_answers
        due_at = None if call.due_in is None else later(self.now, call.due_in)
        return {
            "status": CallStatus.PENDING,
            "due_at": due_at,
            **schedule(call.function, self.now),
        }

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
