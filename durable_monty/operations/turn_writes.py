"""What the turns of executions write, within the transaction that has locked them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import connections

from durable_monty.models import Call, Execution, Program, Snapshot
from durable_monty.operations import rows
from durable_monty.operations.call_rows import CONSTANT, NEW, CallRows
from durable_monty.operations.failed_calls import own_type
from durable_monty.operations.fence import Claimed, refusals_of
from durable_monty.operations.finish import clear_finished
from durable_monty.operations.journal import request_of
from durable_monty.operations.outcomes import Outcome, TurnResult
from durable_monty.operations.schedule import lease
from durable_monty.operations.sources import workflow_of
from durable_monty.operations.transitions import (
    Changes,
    Locked,
    changed_columns,
    keep_claim,
    transition,
)
from durable_monty.sandbox import Completed, Failed, never_awaited


def write_turns(claimed: Sequence[Claimed], now: datetime, using: str) -> Changes:
    """Writes answers as delivered, new calls, snapshots and the executions themselves.

    Returns the columns that were written of each execution.
    """
    claimed = [(_fail_if_unawaited(outcome, using), row) for outcome, row in claimed]
    results = [outcome for outcome, _row in claimed if isinstance(outcome, TurnResult)]
    delivered: list[tuple[int, int, bool]] = []
    for result in results:
        is_loaded = result.loaded_turn == result.turn
        delivered += [(pk, result.turn, is_loaded) for pk in result.delivered]
        if result.loaded_turn is not None and not is_loaded:
            # The turns since that snapshot were replayed upon it, with the same calls.
            Call.objects.using(using).filter(
                execution_id=result.execution.id, delivered_turn=result.loaded_turn
            ).update(after_load=True)
    # In the order of the calls' keys, in which every write locks them.
    rows.update(Call, ("delivered_turn", "after_load"), sorted(delivered), using=using)
    refusals = refusals_of(claimed, using)
    calls = CallRows(now, now + lease())
    changes = {
        row.pk: _change(outcome, row, calls, refusals.get(row.pk), using)
        for outcome, row in claimed
    }
    # Those without rows of open calls and without snapshots have nothing to clear.
    clean = {result.execution.pk for result in results if result.is_clean}
    finished = [pk for pk, changed in changes.items() if "finished_at" in changed]
    if left := [pk for pk in finished if pk not in clean]:
        clear_finished(left, now, using)
    rows.insert(Call, tuple(NEW), calls.rows, constants=CONSTANT, using=using)
    calls.note_claims(using)
    _save_snapshots([result for result in results if not result.holds], now, using)
    # One statement for all executions that change the same columns.
    alike: dict[tuple[str, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for pk, changed in sorted(changes.items()):
        alike[tuple(changed)].append((pk, *changed.values()))
    for columns, values in alike.items():
        rows.update(Execution, columns, values, using=using)
    return changes


def _fail_if_unawaited(outcome: Outcome, using: str) -> Outcome:
    """Returns the outcome, or a failure if the workflow never awaited a call of the journal."""
    ending = outcome.ending if isinstance(outcome, TurnResult) else None
    if not isinstance(outcome, TurnResult) or not isinstance(ending, Completed) or not ending.left:
        return outcome
    execution = outcome.execution
    rows = Call.objects.using(using).filter(execution_id=execution.pk, delivered_turn=None)
    ids = set(ending.left)
    left = [request_of(row) for row in rows.order_by("call_id") if row.call_id in ids]
    failed = never_awaited(left, workflow_of(execution))
    if failed is None:
        return outcome
    *turns, last = outcome.turns
    return outcome._replace(turns=(*turns, last._replace(outcome=failed)))


def _change(
    outcome: Outcome,
    row: Locked,
    calls: CallRows,
    refusal: tuple[str, str] | None,
    using: str,
) -> dict[str, Any]:
    """Returns the columns to write of an execution, and adds its new calls to `calls`."""
    execution, now = outcome.execution, calls.now
    if not isinstance(outcome, TurnResult):
        return transition(outcome, row, now) | {"claim": None}
    if outcome.holds and row.asks_nothing_of(execution):
        written = outcome.written
        calls.add(written, execution.worker_id)
        # All else is as it was when the worker began to keep it.
        changes = changed_columns(execution, keep_claim(outcome, now, lease()))
    else:
        written = list(outcome.calls)
        calls.add(written, execution.worker_id, refusal, is_last=outcome.is_last)
        is_answered = any(
            call.delivered_turn is None and (refusal or call.answer is not None)
            for call in written
        )
        changes = transition(outcome, row, now, answered=is_answered) | {"claim": None}
        if isinstance(outcome.ending, Failed) and changes["error_type"] != "Cancelled":
            changes["error_type"] = own_type(execution.pk, outcome.ending, using)
    changes["call_count"] = execution.call_count + len(written)
    return changes


def _save_snapshots(results: Iterable[TurnResult], now: datetime, using: str) -> None:
    """Saves the new snapshots, and the dictionaries of programs that have none yet."""
    fresh = []
    for result in results:
        if (packed := result.packed) is None:
            continue  # its older snapshot stays: the turns since are replayed
        snapshot = Snapshot(
            execution_id=result.execution.id,
            turn=result.turn,
            data=packed.data,
            size=packed.size,
            format=packed.format,
            dictionary=packed.dictionary,
            created_at=now,
        )
        snapshot.sign(packed.digest)
        fresh.append(snapshot)
        if result.dictionary is not None:
            # It never changes: the snapshots that were made with it could not be read any more.
            programs = Program.objects.using(using).filter(pk=result.execution.program_id)
            programs.filter(dictionary=None).update(dictionary=result.dictionary)
    targeted = connections[using].features.supports_update_conflicts_with_target
    Snapshot.objects.using(using).bulk_create(
        fresh,
        update_conflicts=True,
        unique_fields=["execution"] if targeted else None,
        update_fields=["turn", "data", "size", "format", "dictionary", "signature", "created_at"],
    )
