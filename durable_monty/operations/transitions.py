"""The transitions of an execution: which columns an outcome changes."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from durable_monty import codec
from durable_monty.durations import later
from durable_monty.models import Execution, ExecutionStatus
from durable_monty.operations.answer import TRACEBACK_LIMIT, error_columns
from durable_monty.operations.outcomes import Mismatched, Outcome, Parked, TurnResult
from durable_monty.sandbox import Completed, Failed

# A sandbox that crashes this often on one turn is not an accident of the host.
MAX_FAULTS = 5
_MAX_BACKOFF = 60.0
_UNLIMITED = 2**31

# The columns that are written of each execution.
Changes = dict[uuid.UUID, dict[str, Any]]


class Locked(NamedTuple):
    """The row of an execution as a commit finds it."""

    pk: uuid.UUID
    claim: uuid.UUID | None
    turn: int
    wakeups: int
    status: str
    pause_requested: bool = False
    # These are read only for an execution that is to end.
    grace_until: datetime | None = None
    cancel_requested_at: datetime | None = None
    deadline: datetime | None = None
    reason: str = ""

    def asks_nothing_of(self, execution: Execution) -> bool:
        """Returns whether no answer and no request has come since the execution was claimed."""
        has_request = self.pause_requested or self.grace_until is not None
        return self.wakeups == execution.wakeups and not has_request


def changed_columns(execution: Execution, columns: dict[str, Any]) -> dict[str, Any]:
    """Returns the columns whose values differ from those of the execution."""
    return {name: value for name, value in columns.items() if getattr(execution, name) != value}


def transition(
    outcome: Outcome, row: Locked, now: datetime, *, answered: bool = False
) -> dict[str, Any]:
    """Returns the columns to write of an execution that its worker gives up.

    `row` is the locked execution. `answered` says whether a call that is written with it has an
    answer that no turn was given yet.
    """
    match outcome:
        case TurnResult():
            return _turn_changes(outcome, row, now, answered=answered)
        case Parked():
            return _suspended(outcome.execution, row, now, row.status)
        case Mismatched(why=why):
            return _paused("ReplayMismatch", why)
    faults = outcome.execution.faults + 1
    if faults < MAX_FAULTS:
        backoff = 0.0 if outcome.at_once else min(_MAX_BACKOFF, 0.5 * 2**faults)
        return {"faults": faults, "due_at": later(now, backoff)}
    message = f"This turn was given up after {faults} tries: {outcome.why}"
    # A bug of this app must not cost a run: a new version may go on with it.
    if outcome.is_ours:
        # Not 0: calls of the last turn may be missing.
        return _paused("HostFault", message) | {"faults": 1}
    return _failed("RuntimeError", message, "", now) | {"faults": faults}


def keep_claim(outcome: TurnResult, now: datetime, lease: timedelta) -> dict[str, Any]:
    """Returns the columns to write of an execution that its worker keeps."""
    changes = _progress(outcome, now) | {"status": ExecutionStatus.WAITING}
    due_at = outcome.execution.due_at
    # Not at every commit: a new `due_at` writes an index.
    if due_at is None or due_at - now < lease / 2:
        changes["due_at"] = now + lease
    return changes


def _turn_changes(
    outcome: TurnResult, row: Locked, now: datetime, *, answered: bool
) -> dict[str, Any]:
    execution = outcome.execution
    changes = _progress(outcome, now)
    match outcome.ending:
        case None:
            if outcome.turns:
                position = outcome.position
                changes |= {"position_start": position.start, "position_end": position.end}
            changes |= _suspended(execution, row, now, ExecutionStatus.WAITING, answered=answered)
        case Completed(output=output):
            changes |= finished(ExecutionStatus.COMPLETED, now) | {"output": output}
        case Failed(error_type="BaseException") as failed if row.cancel_requested_at:
            changes |= finished(ExecutionStatus.CANCELLED, now) | {
                "error_type": "Cancelled",
                "error_message": row.reason,
                "error_traceback": codec.clean_text(failed.traceback, TRACEBACK_LIMIT),
            }
        case Failed() as failed:
            changes |= _failed(failed.error_type, failed.message, failed.traceback, now)
    return changes


def _progress(outcome: TurnResult, now: datetime) -> dict[str, Any]:
    execution = outcome.execution
    changes: dict[str, Any] = {
        "turn": outcome.turn,
        "faults": int(outcome.faulted),
        "clock_at": outcome.clock_at,
        "started_at": execution.started_at or now,
    }
    if log := outcome.log:
        changes["log"] = execution.log + log
    return changes


def _paused(error_type: str, why: str) -> dict[str, Any]:
    """Returns the columns of a pause after an error; `resume_execution` lets it try again."""
    return {
        "status": ExecutionStatus.PAUSED,
        "error_type": error_type,
        "error_message": codec.clean_text(why, _UNLIMITED),
        "due_at": None,
    }


def _failed(error_type: str, message: str, traceback: str, now: datetime) -> dict[str, Any]:
    errors = error_columns(error_type, message, traceback)
    return finished(ExecutionStatus.FAILED, now) | errors


def finished(status: ExecutionStatus, now: datetime) -> dict[str, Any]:
    """Returns the columns of an execution that ends in this state."""
    return {
        "status": status,
        "finished_at": now,
        "due_at": None,
        "deadline": None,
        "grace_until": None,
        "position_start": None,
        "position_end": None,
    }


def _suspended(
    execution: Execution, row: Locked, now: datetime, status: str, *, answered: bool = False
) -> dict[str, Any]:
    if row.pause_requested:
        return {"status": ExecutionStatus.PAUSED, "due_at": None, "pause_requested": False}
    # An answer that came since the claim may or may not have been delivered.
    is_due = answered or row.wakeups != execution.wakeups
    return {"status": status, "due_at": now if is_due else None}
