"""Snapshots of executions, as a commit saves them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import connections

from durable_monty.models import Program, Snapshot
from durable_monty.operations.outcomes import TurnResult


def save_snapshots(results: Iterable[TurnResult], now: datetime, using: str) -> None:
    """Saves the new snapshots, and the dictionaries of programs that have none yet.

    An execution that could not be dumped keeps its older snapshot: the turns since are replayed.
    """
    fresh = []
    for result in results:
        if (packed := result.packed) is None:
            continue
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
            programs = Program.objects.using(using).filter(pk=result.execution.program_id)
            programs.filter(dictionary=None).update(dictionary=result.dictionary)
    targeted = connections[using].features.supports_update_conflicts_with_target
    Snapshot.objects.using(using).bulk_create(
        fresh,
        update_conflicts=True,
        unique_fields=["execution"] if targeted else None,
        update_fields=["turn", "data", "size", "format", "dictionary", "signature", "created_at"],
    )
