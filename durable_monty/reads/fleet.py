"""The workers that are alive, and the calls that none of them takes."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min
from django.utils.translation import gettext as _

from durable_monty.functions import DEFAULT_EXECUTOR, FUNCTION_REGISTRY
from durable_monty.kinds import FIXED_EXECUTORS
from durable_monty.models import Call, WorkerProcess
from durable_monty.models.worker_process import DEAD_AFTER

# Calls that are due for less are not reported: a worker that has them may just be restarting.
UNSERVED_AFTER = DEAD_AFTER

_GROUPS = 100


@dataclass(frozen=True, slots=True)
class Serving:
    """What one worker takes."""

    executors: frozenset[str]
    functions: frozenset[str]

    def takes(self, function: str, executor: str) -> bool:
        has_it = executor == DEFAULT_EXECUTOR or executor in self.executors
        return has_it and function in self.functions


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers that are alive."""

    workers: tuple[Serving, ...]

    def served(self) -> dict[str, set[str]]:
        """Returns the functions that they take, by the executor of the call."""
        served: dict[str, set[str]] = {}
        for worker in self.workers:
            for executor in (DEFAULT_EXECUTOR, *worker.executors):
                served.setdefault(executor, set()).update(worker.functions)
        return served

    def obstacle(self, function: str, executor: str) -> str:
        """Why no worker takes such a call; empty, if one does."""
        if any(worker.takes(function, executor) for worker in self.workers):
            return ""
        if not self.workers:
            return _("no worker is running")
        if any(function in worker.functions for worker in self.workers):
            return _("no running worker has the executor '%(name)s'") % {"name": executor}
        return _("no running worker has the function '%(name)s'") % {"name": function}


@dataclass(frozen=True, slots=True)
class Unserved:
    """Calls of one function that are due. `obstacle` says what no running worker has."""

    function: str
    executor: str
    count: int
    since: datetime
    obstacle: str


def read_fleet(now: datetime, using: str) -> Fleet:
    workers = WorkerProcess.objects.using(using).alive(now)
    return Fleet(
        tuple(
            Serving(frozenset(executor.split(",")), frozenset(json.loads(functions)))
            for executor, functions in workers.values_list("executor", "functions_json")
        )
    )


def find_unserved(
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
    due = due.filter(executor__in=executors - FIXED_EXECUTORS)
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
