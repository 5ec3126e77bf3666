"""Writing turns: a batch of executions in one transaction, each fenced on its own claim."""

from __future__ import annotations

import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import connections, transaction
from django.db.models import F

from durable_monty.models import Call, Execution, Program, Snapshot
from durable_monty.operations import sql
from durable_monty.operations.answer import DEADLINE_PASSED, END_REQUESTS
from durable_monty.operations.call_rows import CallRows
from durable_monty.operations.failed_calls import own_type
from durable_monty.operations.finish import clear_finished
from durable_monty.operations.leases import lease
from durable_monty.operations.log import log_execution, log_retry
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.outcomes import Faulted, Outcome, TurnResult
from durable_monty.operations.postgresql.commit import commit_plain, is_plain
from durable_monty.operations.reports import report_written
from durable_monty.operations.sql import as_uuid
from durable_monty.operations.transactions import may_pass, write
from durable_monty.operations.transitions import Changes, Locked, keep_claim, transition
from durable_monty.operations.unawaited import fail_if_unawaited
from durable_monty.sandbox import CANCELLED, Failed
from durable_monty.wakeups import announce

# Seconds between tries to commit while the database is out of reach.
_WAITS = (0.1, 0.5, 2.0, 5.0)


def commit(outcomes: Sequence[Outcome], *, using: str) -> Changes:
    """Writes what still holds its claim, whole or not at all, and gives the columns of each
    execution that was written.

    A batch is not one fate: if the database refuses it, each execution is tried by itself and
    only the refused one is put off. While the database is out of reach it is tried again; the
    fence makes that safe, as a commit that did happen has given up the claim or moved the turn.
    """
    written: Changes = {}
    is_doubtful = False
    if connections[using].vendor == "postgresql":
        try:
            plain = [outcome for outcome in outcomes if is_plain(outcome)]
            written = commit_plain(plain, using=using)
            report_written(plain, written, using)
            if any(outcome.asks_others for outcome in plain):
                announce(using, to_others=True)
        except Exception as exc:
            if transaction.get_connection(using).in_atomic_block:
                raise
            log_retry(outcomes, exc)
            if may_pass(exc):
                connections[using].close()
            is_doubtful = True
        outcomes = [outcome for outcome in outcomes if outcome.execution.id not in written]
    return written | _commit_all(outcomes, using, is_doubtful=is_doubtful)


def _commit_all(outcomes: Sequence[Outcome], using: str, *, is_doubtful: bool = False) -> Changes:
    if not outcomes:
        return {}
    for wait in (*_WAITS, None):
        try:
            return _commit(outcomes, using, is_doubtful=is_doubtful)
        # The driver refuses some values with errors that are not Django's, such as OverflowError.
        except Exception as exc:
            if may_pass(exc):
                if wait is None or transaction.get_connection(using).in_atomic_block:
                    raise
                log_retry(outcomes, exc)
                connections[using].close()
                is_doubtful = True
                time.sleep(wait)
            elif len(outcomes) > 1:
                each = [_commit_all([outcome], using) for outcome in outcomes]
                return {pk: changes for written in each for pk, changes in written.items()}
            else:
                return _put_off(outcomes[0], exc, using)
    return {}


def _put_off(outcome: Outcome, exc: Exception, using: str) -> Changes:
    """Writes that the database refused an execution's turn. If it refuses that too, the execution
    is left to its lease."""
    log_execution(logging.ERROR, "commit was refused", outcome.execution, exc, exc)
    if isinstance(outcome, Faulted):
        return {}
    return _commit_all([Faulted(outcome.execution, f"commit refused: {exc}")], using)


def _commit(outcomes: Sequence[Outcome], using: str, *, is_doubtful: bool) -> Changes:
    with write(using):
        now, locked = _lock(outcomes, using)
        if now is None:
            return {}
        if is_doubtful:
            _release_written(outcomes, locked, now, using)
        ours = [outcome for outcome in outcomes if _is_ours(outcome.execution, locked)]
        kept = [fail_if_unawaited(outcome, using) for outcome in ours]
        advanced = [outcome for outcome in kept if isinstance(outcome, TurnResult)]
        _deliver(advanced, using)
        refusals = _refusals(advanced, locked, using)
        term = lease()
        rows = CallRows(now, now + term, using)
        changes: Changes = {}
        for outcome in kept:
            execution, row = outcome.execution, locked[outcome.execution.id]
            if not isinstance(outcome, TurnResult):
                changes[execution.pk] = transition(outcome, row, now) | {"claim": None}
                continue
            if outcome.holds and _asks_nothing(row, execution):
                calls = outcome.written
                changed = _new(keep_claim(outcome, now, term), execution)
                rows.add(calls, execution.worker_id)
            else:
                calls, refusal = list(outcome.calls), refusals.get(execution.pk)
                rows.add(calls, execution.worker_id, refusal, is_last=outcome.is_last)
                answered = any(_is_undelivered(call, refused=bool(refusal)) for call in calls)
                changed = transition(outcome, row, now, answered=answered) | {"claim": None}
                if isinstance(outcome.ending, Failed) and changed["error_type"] != "Cancelled":
                    changed["error_type"] = own_type(execution.pk, outcome.ending, using)
            changed["call_count"] = execution.call_count + len(calls)
            changes[execution.pk] = changed
        finished = [pk for pk, changed in changes.items() if "finished_at" in changed]
        clean = {outcome.execution.id for outcome in advanced if outcome.is_clean}
        if left := [pk for pk in finished if pk not in clean]:
            clear_finished(left, now, using)
        rows.write()
        _save_snapshots([outcome for outcome in advanced if not outcome.holds], now, using)
        _save(changes, using)
        if rows.is_due:
            announce(using, to_others=True)  # they may run them
        report_written(kept, changes, using)
    return changes


def _lock(
    outcomes: Sequence[Outcome], using: str
) -> tuple[datetime | None, dict[uuid.UUID, Locked]]:
    now, rows = sql.lock(
        Execution,
        ("claim", "turn", "wakeups", "status", "pause_requested", "grace_until IS NOT NULL"),
        [outcome.execution.id for outcome in outcomes],
        sql.ACTIVE,
        using=using,
    )
    locked = {}
    asked = []
    for pk, claim, turn, wakeups, status, pause_requested, has_grace in rows:
        row = Locked(
            as_uuid(pk), claim and as_uuid(claim), turn, wakeups, status, bool(pause_requested)
        )
        locked[row.pk] = row
        if has_grace:
            asked.append(row.pk)
    if asked:
        wanted = ("grace_until", "cancel_requested_at", "deadline", "reason")
        for request in Execution.objects.using(using).filter(pk__in=asked).values("pk", *wanted):
            pk = request.pop("pk")
            locked[pk] = locked[pk]._replace(**request)
    return now, locked


def _is_ours(execution: Execution, locked: dict[uuid.UUID, Locked]) -> bool:
    row = locked.get(execution.pk)
    return row is not None and (row.claim, row.turn) == (execution.claim, execution.turn)


def _asks_nothing(row: Locked, execution: Execution) -> bool:
    """Whether nobody wants anything of an execution since it was claimed."""
    return row.wakeups == execution.wakeups and not row.pause_requested and row.grace_until is None


def _new(changes: dict[str, Any], execution: Execution) -> dict[str, Any]:
    """Of an execution that was held, all else is as it was when that began."""
    return {name: value for name, value in changes.items() if getattr(execution, name) != value}


def _is_undelivered(call: NewCall, *, refused: bool) -> bool:
    return call.delivered_turn is None and (refused or call.answer is not None)


def _release_written(
    outcomes: Sequence[Outcome], locked: dict[uuid.UUID, Locked], now: datetime, using: str
) -> None:
    """A commit whose acknowledgement was lost did happen for those that are ahead: they are held
    by nobody now."""
    ahead = [
        outcome.execution.id
        for outcome in outcomes
        if (row := locked.get(outcome.execution.id)) is not None
        and row.claim == outcome.execution.claim
        and row.turn > outcome.execution.turn
    ]
    # A fault, so that whoever claims them knows: calls of the last turn may be missing.
    Execution.objects.using(using).filter(pk__in=ahead).update(
        claim=None, due_at=now, faults=F("faults") + 1
    )


def _deliver(advanced: Iterable[TurnResult], using: str) -> None:
    """Marks answers with their turn, and the turns that began from a load."""
    delivered: list[tuple[int, int, bool]] = []
    for outcome in advanced:
        is_loaded = outcome.loaded_turn == outcome.turn
        delivered += [(pk, outcome.turn, is_loaded) for pk in outcome.delivered]
        if outcome.loaded_turn is not None and not is_loaded:
            # The turns since that snapshot were replayed upon it, with the same calls.
            Call.objects.using(using).filter(
                execution_id=outcome.execution.id, delivered_turn=outcome.loaded_turn
            ).update(after_load=True)
    sql.update(Call, ("delivered_turn", "after_load"), sorted(delivered), using=using)


def _save(changes: Changes, using: str) -> None:
    alike: dict[tuple[str, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for pk, changed in sorted(changes.items()):
        alike[tuple(changed)].append((pk, *changed.values()))
    for columns, rows in alike.items():
        sql.update(Execution, columns, rows, using=using)


def _refusals(
    advanced: Iterable[TurnResult], locked: dict[uuid.UUID, Locked], using: str
) -> dict[uuid.UUID, tuple[str, str]]:
    """The error of the calls of a turn that did not know yet that its execution must end."""
    asked = {
        outcome.execution.id: (locked[outcome.execution.id], outcome.execution)
        for outcome in advanced
        if locked[outcome.execution.id].grace_until is not None
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
    calls = Call.objects.using(using).filter(END_REQUESTS, execution_id__in=asked)
    return set(calls.values_list("execution_id", "error_type"))


def _save_snapshots(advanced: Iterable[TurnResult], now: datetime, using: str) -> None:
    """One that could not be dumped keeps its older snapshot: the turns since are replayed."""
    snapshots = Snapshot.objects.using(using)
    fresh = []
    for outcome in advanced:
        if (packed := outcome.packed) is None:
            continue
        snapshot = Snapshot(
            execution_id=outcome.execution.id,
            turn=outcome.turn,
            data=packed.data,
            size=packed.size,
            format=packed.format,
            dictionary=packed.dictionary,
            created_at=now,
        )
        snapshot.sign(packed.digest)
        fresh.append(snapshot)
        if outcome.dictionary is not None:
            programs = Program.objects.using(using).filter(pk=outcome.execution.program_id)
            programs.filter(dictionary=None).update(dictionary=outcome.dictionary)
    targeted = connections[using].features.supports_update_conflicts_with_target
    snapshots.bulk_create(
        fresh,
        update_conflicts=True,
        unique_fields=["execution"] if targeted else None,
        update_fields=["turn", "data", "size", "format", "dictionary", "signature", "created_at"],
    )
