"""Calls that no running worker takes: one rule for workers, the doctor and the dashboard."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min

from durable_monty.functions import FUNCTION_REGISTRY, MANUAL_EXECUTOR
from durable_monty.models import Call
from durable_monty.models.call import ENGINE
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
    fleet: Fleet, now: datetime, using: str, execution_id: uuid.UUID | None = None
) -> list[Unserved]:
    """Returns the groups of due calls that no running worker takes; of one execution at once,
    since somebody asks for it.

    It is empty while no worker runs: then all work waits, which is reported as such.
    """
    if not fleet.workers:
        return []
    served = fleet.served()
    due = Call.objects.using(using).due(now - UNSERVED_AFTER)
    if execution_id is not None:
        due = Call.objects.using(using).due(now).filter(execution_id=execution_id)
    # They are named, because an index leads with the executor, and sleeps can be many.
    executors = {*served, *(entry.executor for entry in FUNCTION_REGISTRY.values())}
    due = due.filter(executor__in=executors - {MANUAL_EXECUTOR, ENGINE})
    for executor, functions in served.items():
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
