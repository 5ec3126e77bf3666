"""The rows of new calls."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from durable_monty.durations import later
from durable_monty.models import Call, CallStatus
from durable_monty.operations.answer import Answer, ClaimedCall, closed
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.schedule import schedule

# The columns that are written, with their values in a row that says nothing of them.
NEW: dict[str, Any] = {
    "execution_id": None,
    "call_id": None,
    "kind": None,
    "function": None,
    "args": None,
    "kwargs": None,
    "position_start": None,
    "position_end": None,
    "turn": None,
    "executor": None,
    "created_at": None,
    "status": CallStatus.PENDING,
    "result": None,
    "error_type": "",
    "error_message": "",
    "raised_as": "",
    "error_traceback": "",
    "delivered_turn": None,
    "progress": None,
    "progress_message": "",
    "attempt": 0,
    "worker_id": None,
    "started_at": None,
    "finished_at": None,
    "due_at": None,
    "claim": None,
    "start_by": None,
    "close_by": None,
    "deadline_at": None,
}
# The same in all new rows.
CONSTANT: dict[str, Any] = {
    "after_load": False,
    "failures": 0,
    "losses": 0,
    "job_id": "",
    "reason": "",
    "completed_by_name": "",
}


# The columns that `row_of` may give.
GIVEN = (
    "call_id",
    "kind",
    "function",
    "args",
    "kwargs",
    "position_start",
    "position_end",
    "turn",
    "executor",
    "status",
    "result",
    "delivered_turn",
    "attempt",
    "started_at",
    "finished_at",
    "progress",
    "progress_message",
)


def row_of(call: NewCall) -> dict[str, Any]:
    """Returns the columns of a call that are the same whoever writes it, and when."""
    request, answer = call.request, call.answer
    row: dict[str, Any] = {
        "call_id": request.call_id,
        "kind": request.kind,
        "function": request.function,
        "args": request.args,
        "kwargs": request.kwargs,
        "position_start": request.position.start,
        "position_end": request.position.end,
        "turn": call.turn,
        "executor": call.executor,
    }
    if answer is not None:
        row |= {
            "status": CallStatus.COMPLETED,
            "result": answer.result,
            "delivered_turn": call.delivered_turn,
        }
    if call.started_at is not None:
        row |= {"attempt": call.attempt, "started_at": call.started_at}
    if call.finished_at is not None:
        row["finished_at"] = call.finished_at
    if call.progress is not None or call.progress_message:
        row |= {"progress": call.progress, "progress_message": call.progress_message}
    return row


@dataclass(slots=True)
class CallRows:
    """Collects the rows of new calls that one transaction writes.

    `lease_ends` is the end of the leases of calls that are running.
    """

    now: datetime
    lease_ends: datetime
    token: uuid.UUID = field(default_factory=uuid.uuid4)  # the claim of calls that are running
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    running: list[NewCall] = field(default_factory=list)

    def add(
        self,
        calls: Iterable[NewCall],
        worker_id: int | None,
        refusal: tuple[str, str] | None = None,
        *,
        is_last: bool = False,
    ) -> None:
        """Adds calls, of which the worker runs those that have started.

        A `refusal` answers those that have no answer; `is_last` withdraws them.
        """
        for call in calls:
            row = {
                **NEW,
                **row_of(call),
                "execution_id": call.execution_id,
                "created_at": call.started_at or self.now,
                "worker_id": None if call.started_at is None else worker_id,
            }
            if call.answer is None:
                row |= self._state(call, refusal, is_last=is_last)
                call.is_withdrawn = row["finished_at"] is not None
            else:
                # A reading of the clock has no times of its own.
                row["finished_at"] = call.finished_at or self.now
            self.rows.append(tuple(row.values()))

    def _state(
        self, call: NewCall, refusal: tuple[str, str] | None, *, is_last: bool
    ) -> dict[str, Any]:
        """Returns the columns of a call without an answer."""
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
        due_at = None if call.due_in is None else later(self.now, call.due_in)
        return {"due_at": due_at, **schedule(call, self.now)}

    def note_claims(self, using: str) -> None:
        """Gives running calls, once they are written, the claims that answer them from now on."""
        if not self.running:
            return
        ids = {call.execution_id for call in self.running}
        rows = Call.objects.using(using).filter(execution_id__in=ids, claim=self.token)
        pks = {
            (execution_id, call_id): pk
            for execution_id, call_id, pk in rows.values_list("execution_id", "call_id", "pk")
        }
        for call in self.running:
            pk = pks[call.execution_id, call.call_id]
            call.claimed = ClaimedCall(pk, self.token, call=call)
