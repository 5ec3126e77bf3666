"""Calls that no running worker takes: one rule for workers, the doctor and the dashboard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min

from durable_monty.functions import MANUAL_EXECUTOR
from durable_monty.models import Call
from durable_monty.models.call import ENGINE, CallQuerySet
from durable_monty.models.worker_process import DEAD_AFTER
from durable_monty.reads.waiting import Fleet

# Calls that are due for less are not reported: a worker that has them may just be restarting.
UNSERVED_AFTER = DEAD_AFTER

_GROUPS = 100


@dataclass(frozen=True, slots=True)
class Unserved:
    """Calls of one function that are due. `obstacle` says what no running worker has."""

    function: str
    executor: str
    count: int
    since: datetime
    obstacle: str


def unserved(
    fleet: Fleet, now: datetime, using: str, calls: CallQuerySet | None = None
) -> list[Unserved]:
    """Returns the groups of due calls that no running worker takes, of `calls` or of all.

    It is empty while no worker runs: then all work waits, which is reported as such.
    """
    if not fleet.workers:
        return []
    due = (Call.objects.using(using) if calls is None else calls).due(now - UNSERVED_AFTER)
    due = due.exclude(executor__in=[MANUAL_EXECUTOR, ENGINE])
    for executor, functions in fleet.served().items():
        due = due.exclude(executor=executor, function__in=functions)
    groups = (
        due.order_by("executor", "function")
        .values_list("executor", "function")
        .annotate(Count("pk"), Min("due_at"))[:_GROUPS]
    )
    return [
        Unserved(function, executor, count, since, fleet.obstacle(function, executor))
        for executor, function, count, since in groups
    ]
