"""Writing turns: a batch of executions in one transaction, each fenced on its own claim."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    connections,
    transaction,
)
from django.db.models import OuterRef, Q, Subquery

from durable_monty import codec
from durable_monty.functions import DEFAULT_EXECUTOR, FUNCTION_REGISTRY, MANUAL_EXECUTOR
from durable_monty.models import Call, CallStatus, Execution, ExecutionStatus, Snapshot
from durable_monty.models.call import ENGINE
from durable_monty.models.clock import database_now
from durable_monty.models.execution import ACTIVE
from durable_monty.operations.attempts import after, timeouts_of
from durable_monty.operations.transactions import write
from durable_monty.operations.withdraw import DEADLINE_PASSED, withdraw_calls
from durable_monty.sandbox import (
    CANCELLED,
    CallRequest,
    Completed,
    Failed,
    Packed,
    Suspended,
    Turn,
)

logger = logging.getLogger("durable_monty")

_UNLIMITED = 2**31
_REQUESTS = ("cancel_requested_at", "deadline", "grace_until", "reason", "status")
# A sandbox that crashes this often on one turn is not an accident of the host.
MAX_FAULTS = 5
_MAX_BACKOFF = 60.0
# Seconds between tries to commit while the database is out of reach.
_WAITS = (0.1, 0.5, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Advanced:
    """A turn that was run. `delivered`: keys of the calls whose answers it was given;
    `loaded_turn`: the turn that began from a loaded snapshot, if any did."""

    execution: Execution
    turn: Turn
    delivered: Sequence[int] = ()
    loaded_turn: int | None = None
    packed: Packed | None = None
    clock_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Parked:
    """There was nothing to run for."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class Mismatched:
    """Replay differs from the journal: to be paused, nothing is lost."""

    execution: Execution
    why: str
    from_snapshot: bool = False


@dataclass(frozen=True, slots=True)
class Faulted:
    """The host failed, not the workflow: to be tried again later. `counts`: too many of these
    fail the execution."""

    execution: Execution
    why: str
    counts: bool = True


Outcome = Advanced | Parked | Mismatched | Faulted


def commit(outcomes: Sequence[Outcome], *, using: str) -> int:
    """Writes what still holds its claim, whole or not at all, and gives the number of turns.

    A batch is not one fate: if the database refuses it, each execution is tried by itself and
    only the refused one is put off. While the database is out of reach it is tried again; the
    fence makes that safe, as a commit that did happen has given up the claim.
    """
    if not outcomes:
        return 0
    for wait in (*_WAITS, None):
        try:
            return _commit(outcomes, using)
        except (OperationalError, InterfaceError) as exc:
            if wait is None or transaction.get_connection(using).in_atomic_block:
                raise
            logger.warning("commit is tried again", extra={"why": str(exc)})
            connections[using].close()
            time.sleep(wait)
        except DatabaseError as exc:
            if len(outcomes) > 1:
                return sum(commit([outcome], using=using) for outcome in outcomes)
            logger.exception(
                "commit was refused", extra={"execution": str(outcomes[0].execution.pk)}
            )
            if isinstance(outcomes[0], Faulted):
                raise
            return commit([Faulted(outcomes[0].execution, f"commit refused: {exc}")], using=using)
    return 0


def _commit(outcomes: Sequence[Outcome], using: str) -> int:
    with write(using):
        now = database_now(using)
        locked = {
            row.pk: row
            for row in Execution.objects.using(using)
            .filter(pk__in=[outcome.execution.pk for outcome in outcomes], status__in=ACTIVE)
            .order_by("pk")
            .select_for_update()
            .only("claim", "turn", "wakeups", "log", "pause_requested", *_REQUESTS)
        }
        kept = [outcome for outcome in outcomes if _holds(outcome.execution, locked)]
        advanced = [outcome for outcome in kept if isinstance(outcome, Advanced)]
        _deliver(advanced, using)
        refusals = _refusals(advanced, locked, using)
        changes: dict[uuid.UUID, dict[str, Any]] = {}
        for outcome in kept:
            pk = outcome.execution.pk
            changes[pk] = _changes(outcome, locked[pk], now, is_refused=pk in refusals)
        finished = [pk for pk, changed in changes.items() if "finished_at" in changed]
        if finished:
            withdraw_calls(finished, now, using)
            Snapshot.objects.using(using).filter(pk__in=finished).delete()
        calls = [
            call
            for outcome in advanced
            for call in _new_calls(outcome, refusals.get(outcome.execution.pk), now)
        ]
        Call.objects.using(using).bulk_create(calls)
        _save_snapshots(advanced, now, using)
        for pk, changed in changes.items():
            Execution.objects.using(using).filter(pk=pk).update(claim=None, **changed)
    return len(advanced)


def _holds(execution: Execution, locked: dict[uuid.UUID, Execution]) -> bool:
    row = locked.get(execution.pk)
    return row is not None and (row.claim, row.turn) == (execution.claim, execution.turn)


def _deliver(advanced: Iterable[Advanced], using: str) -> None:
    """Marks answers with their turn, and the turns that began from a load."""
    calls = Call.objects.using(using)
    of_execution = Execution.objects.using(using).filter(pk=OuterRef("execution_id"))
    turn = Subquery(of_execution.values("turn")) + 1
    delivered = [pk for outcome in advanced for pk in outcome.delivered]
    if delivered:
        calls.filter(pk__in=delivered).update(delivered_turn=turn)
    loaded: list[int] = []
    for outcome in advanced:
        if outcome.loaded_turn == outcome.execution.turn + 1:
            loaded += outcome.delivered
        elif outcome.loaded_turn is not None:
            # The turns since that snapshot were replayed upon it, with the same calls.
            calls.filter(
                execution_id=outcome.execution.pk, delivered_turn=outcome.loaded_turn
            ).update(after_load=True)
    if loaded:
        calls.filter(pk__in=loaded).update(after_load=True)


def _new_calls(
    outcome: Advanced, refusal: tuple[str, str] | None, now: datetime
) -> Iterable[Call]:
    turn = outcome.execution.turn + 1
    for request in outcome.turn.calls:
        call = Call(
            execution_id=outcome.execution.pk,
            call_id=request.call_id,
            kind=request.kind,
            function=request.function,
            args=request.args,
            kwargs=request.kwargs,
            position_start=request.position.start,
            position_end=request.position.end,
            turn=turn,
            executor=_executor(request),
            created_at=now,
        )
        if request.kind == "clock":
            call.status, call.result = CallStatus.COMPLETED, request.result
            call.delivered_turn, call.finished_at = turn, now
        elif _is_last(outcome):
            call.status, call.finished_at = CallStatus.CANCELLED, now
        elif refusal is not None:
            call.status, call.finished_at = CallStatus.FAILED, now
            call.error_type, call.error_message = refusal
        elif request.delay is not None:
            call.due_at = now + timedelta(seconds=request.delay)
        else:
            call.due_at = None if call.executor == MANUAL_EXECUTOR else now
            timeouts = timeouts_of(call.function)
            call.start_by = after(now, timeouts.schedule_to_start)
            call.close_by = after(now, timeouts.schedule_to_close)
            call.note_deadline()
        yield call


def _refusals(
    advanced: Iterable[Advanced], locked: dict[uuid.UUID, Execution], using: str
) -> dict[uuid.UUID, tuple[str, str]]:
    """The error of the calls of a turn that did not know yet that its execution must end."""
    asked = {
        outcome.execution.pk: (locked[outcome.execution.pk], outcome.execution)
        for outcome in advanced
        if locked[outcome.execution.pk].grace_until is not None
    }
    told = _told(asked, using)
    refusals = {}
    for pk, (row, claimed) in asked.items():
        cancelled, late = (CANCELLED, row.reason), ("TimeoutError", DEADLINE_PASSED)
        if row.cancel_requested_at != claimed.cancel_requested_at:
            refusals[pk] = cancelled
        elif row.deadline != claimed.deadline:
            refusals[pk] = late
        elif (pk, cancelled[0] if row.cancel_requested_at else late[0]) not in told:
            # Nothing was open when it was asked: no call has carried the request yet.
            refusals[pk] = cancelled if row.cancel_requested_at else late
    return refusals


def _told(asked: Collection[uuid.UUID], using: str) -> set[tuple[uuid.UUID, str]]:
    """The executions, with the error, that a call has been answered with the request."""
    if not asked:
        return set()
    requests = Q(error_type=CANCELLED) | Q(error_message=DEADLINE_PASSED)
    calls = Call.objects.using(using).filter(requests, execution_id__in=asked)
    return set(calls.values_list("execution_id", "error_type"))


def _executor(request: CallRequest) -> str:
    if request.kind != "function":
        return ENGINE
    function = FUNCTION_REGISTRY.get(request.function)
    return DEFAULT_EXECUTOR if function is None else function.executor


def _save_snapshots(advanced: Iterable[Advanced], now: datetime, using: str) -> None:
    """One that could not be dumped keeps its older snapshot: the turns since are replayed."""
    snapshots = Snapshot.objects.using(using)
    fresh = []
    for outcome in advanced:
        if (packed := outcome.packed) is None:
            continue
        snapshot = Snapshot(
            execution_id=outcome.execution.pk,
            turn=outcome.execution.turn + 1,
            data=packed.data,
            size=packed.size,
            format=packed.format,
            created_at=now,
        )
        snapshot.sign(packed.digest)
        fresh.append(snapshot)
    targeted = connections[using].features.supports_update_conflicts_with_target
    snapshots.bulk_create(
        fresh,
        update_conflicts=True,
        unique_fields=["execution"] if targeted else None,
        update_fields=["turn", "data", "size", "format", "signature", "created_at"],
    )


def _is_last(outcome: Advanced) -> bool:
    return not isinstance(outcome.turn.outcome, Suspended)


def _changes(
    outcome: Outcome, row: Execution, now: datetime, *, is_refused: bool
) -> dict[str, Any]:
    match outcome:
        case Advanced():
            # Calls that were refused have their answers already.
            answered = is_refused and bool(outcome.turn.calls)
            return _turn_changes(outcome, row, now, answered=answered)
        case Parked():
            return _suspended(outcome.execution, row, now, row.status)
        case Mismatched(why=why):
            return {
                "status": ExecutionStatus.PAUSED,
                "error_type": "ReplayMismatch",
                "error_message": codec.clean_text(why, _UNLIMITED),
                "due_at": None,
            }
        case Faulted(why=why, counts=counts):
            return _fault_changes(outcome.execution, why, now, counts=counts)


def _turn_changes(
    outcome: Advanced, row: Execution, now: datetime, *, answered: bool
) -> dict[str, Any]:
    execution, turn = outcome.execution, outcome.turn
    changes: dict[str, Any] = {
        "turn": execution.turn + 1,
        "faults": 0,
        "call_count": execution.call_count + len(turn.calls),
        "clock_at": outcome.clock_at,
        "started_at": execution.started_at or now,
    }
    if turn.log:
        changes["log"] = row.log + codec.clean_text(turn.log, _UNLIMITED)
    match turn.outcome:
        case Suspended(position=position):
            changes |= {"position_start": position.start, "position_end": position.end}
            changes |= _suspended(execution, row, now, ExecutionStatus.WAITING, answered=answered)
        case Completed(output=output):
            changes |= _finished(ExecutionStatus.COMPLETED, now) | {"output": output}
        case Failed(error_type="BaseException") as failed if row.cancel_requested_at:
            changes |= _finished(ExecutionStatus.CANCELLED, now) | {
                "error_type": "Cancelled",
                "error_message": row.reason,
                "error_traceback": codec.clean_text(failed.traceback, 50_000),
            }
        case Failed() as failed:
            changes |= _failed(failed.error_type, failed.message, failed.traceback, now)
    return changes


def _fault_changes(
    execution: Execution, why: str, now: datetime, *, counts: bool
) -> dict[str, Any]:
    faults = execution.faults + 1
    if not counts:
        faults = min(faults, MAX_FAULTS - 1)
    elif faults >= MAX_FAULTS:
        message = f"This turn was given up after {faults} tries: {why}"
        return _failed("RuntimeError", message, "", now) | {"faults": faults}
    backoff = min(_MAX_BACKOFF, 0.5 * 2**faults)
    return {"faults": faults, "due_at": now + timedelta(seconds=backoff)}


def _failed(error_type: str, message: str, traceback: str, now: datetime) -> dict[str, Any]:
    return _finished(ExecutionStatus.FAILED, now) | {
        "error_type": codec.clean_text(error_type, 200),
        "error_message": codec.clean_text(message, 10_000),
        "error_traceback": codec.clean_text(traceback, 50_000),
    }


def _finished(status: ExecutionStatus, now: datetime) -> dict[str, Any]:
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
    execution: Execution, row: Execution, now: datetime, status: str, *, answered: bool = False
) -> dict[str, Any]:
    if row.pause_requested:
        return {"status": ExecutionStatus.PAUSED, "due_at": None, "pause_requested": False}
    # Now, if an answer came since the claim (it may or may not have been delivered).
    is_due = answered or row.wakeups != execution.wakeups
    return {"status": status, "due_at": now if is_due else None}
