"""What an outcome changes on the row of its execution."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from durable_monty import codec
from durable_monty.durations import later
from durable_monty.models import Execution, ExecutionStatus
from durable_monty.operations.outcomes import Faulted, Mismatched, Outcome, Parked, TurnResult
from durable_monty.sandbox import Completed, Failed

# A sandbox that crashes this often on one turn is not an accident of the host.
MAX_FAULTS = 5
_MAX_BACKOFF = 60.0
_UNLIMITED = 2**31


# Of each execution, the columns that are written.
Changes = dict[uuid.UUID, dict[str, Any]]


class Locked(NamedTuple):
    """What a commit must know of the row as it is now."""

    pk: uuid.UUID
    claim: uuid.UUID | None
    turn: int
    wakeups: int
    status: str
    pause_requested: bool = False
    # Only of an execution that was asked to end:
    grace_until: datetime | None = None
    cancel_requested_at: datetime | None = None
    deadline: datetime | None = None
    reason: str = ""

    def asks_nothing_of(self, execution: Execution) -> bool:
        """Returns whether nobody has asked anything of the execution since its claim."""
        is_asked = self.pause_requested or self.grace_until is not None
        return self.wakeups == execution.wakeups and not is_asked


def changed_columns(execution: Execution, columns: dict[str, Any]) -> dict[str, Any]:
    """Returns those of the columns whose values differ from the execution's."""
    return {name: value for name, value in columns.items() if getattr(execution, name) != value}


def transition(
    outcome: Outcome, row: Locked, now: datetime, *, answered: bool = False
) -> dict[str, Any]:
    """The columns to write; `row` is the locked execution, `answered` whether some of the calls
    that are written with it have answers that no turn was given."""
    match outcome:
        case TurnResult():
            return _turn_changes(outcome, row, now, answered=answered)
        case Parked():
            return _suspended(outcome.execution, row, now, row.status)
        case Mismatched(why=why):
            return _paused("ReplayMismatch", why)
        case Faulted():
            return _fault_changes(outcome, now)


def keep_claim(outcome: TurnResult, now: datetime, lease: timedelta) -> dict[str, Any]:
    """As `transition`, of an execution that its worker goes on holding. Its lease is renewed when
    half of it is over: to move `due_at` is to write an index."""
    changes = _progress(outcome, now) | {"status": ExecutionStatus.WAITING}
    due_at = outcome.execution.due_at
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
                "error_traceback": codec.clean_text(failed.traceback, 50_000),
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


def _fault_changes(outcome: Faulted, now: datetime) -> dict[str, Any]:
    faults = outcome.execution.faults + 1
    if faults >= MAX_FAULTS:
        message = f"This turn was given up after {faults} tries: {outcome.why}"
        if outcome.is_ours:
            # Not 0: calls of the last turn may be missing.
            return _paused("HostFault", message) | {"faults": 1}
        return _failed("RuntimeError", message, "", now) | {"faults": faults}
    backoff = 0.0 if outcome.at_once else min(_MAX_BACKOFF, 0.5 * 2**faults)
    return {"faults": faults, "due_at": later(now, backoff)}


def _paused(error_type: str, why: str) -> dict[str, Any]:
    """Nothing is lost; `resume_execution` lets it try again."""
    return {
        "status": ExecutionStatus.PAUSED,
        "error_type": error_type,
        "error_message": codec.clean_text(why, _UNLIMITED),
        "due_at": None,
    }


def _failed(error_type: str, message: str, traceback: str, now: datetime) -> dict[str, Any]:
    return finished(ExecutionStatus.FAILED, now) | {
        "error_type": codec.clean_text(error_type, 200),
        "error_message": codec.clean_text(message, 10_000),
        "error_traceback": codec.clean_text(traceback, 50_000),
    }


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
    # Now, if an answer came since the claim (it may or may not have been delivered).
    is_due = answered or row.wakeups != execution.wakeups
    return {"status": status, "due_at": now if is_due else None}
