"""Writing turns: a batch of executions in one transaction, each fenced on its own claim."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Collection, Iterable, Sequence
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

from durable_monty.functions import DEFAULT_EXECUTOR, FUNCTION_REGISTRY, MANUAL_EXECUTOR
from durable_monty.models import Call, CallStatus, Execution, Snapshot
from durable_monty.models.call import ENGINE
from durable_monty.models.clock import database_now
from durable_monty.models.execution import ACTIVE
from durable_monty.operations.attempts import after, timeouts_of
from durable_monty.operations.changes import changes_of
from durable_monty.operations.outcomes import Advanced, Faulted, Outcome
from durable_monty.operations.transactions import write
from durable_monty.operations.withdraw import DEADLINE_PASSED, withdraw_calls
from durable_monty.sandbox import CANCELLED, CallRequest

logger = logging.getLogger("durable_monty")

_REQUESTS = ("cancel_requested_at", "deadline", "grace_until", "reason", "status")
# Seconds between tries to commit while the database is out of reach.
_WAITS = (0.1, 0.5, 2.0, 5.0)


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
            changes[pk] = changes_of(outcome, locked[pk], now, is_refused=pk in refusals)
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
        elif outcome.is_last:
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
