"""The workers that are alive, and the calls that none of them takes."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from django.db.models import Count, Min

from durable_monty.functions import DEFAULT_EXECUTOR, FUNCTION_REGISTRY
from durable_monty.kinds import FIXED_EXECUTORS
from durable_monty.models import Call, WorkerProcess
from durable_monty.models.worker_process import DEAD_AFTER

# A worker that has the function may just be restarting.
UNSERVED_AFTER = DEAD_AFTER

_GROUPS = 100


class Obstacle(Enum):
    """Why no worker takes a call."""

    NO_WORKER = auto()
    NO_EXECUTOR = auto()
    NO_FUNCTION = auto()


@dataclass(frozen=True, slots=True)
class Serving:
    """The executors and functions of one worker."""

    executors: frozenset[str]
    functions: frozenset[str]

    def takes(self, function: str, executor: str) -> bool:
        has_executor = executor == DEFAULT_EXECUTOR or executor in self.executors
        return has_executor and function in self.functions


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers that are alive."""

    workers: tuple[Serving, ...]

    def served(self) -> dict[str, set[str]]:
        """Returns the functions that the workers take, by the executor of the call."""
        served: dict[str, set[str]] = {}
        for worker in self.workers:
            for executor in (DEFAULT_EXECUTOR, *worker.executors):
                served.setdefault(executor, set()).update(worker.functions)
        return served

    def obstacle(self, function: str, executor: str) -> Obstacle | None:
        """Returns why no worker takes such a call; None if one does."""
        if any(worker.takes(function, executor) for worker in self.workers):
            return None
        if not self.workers:
            return Obstacle.NO_WORKER
        has_function = any(function in worker.functions for worker in self.workers)
        return Obstacle.NO_EXECUTOR if has_function else Obstacle.NO_FUNCTION


@dataclass(frozen=True, slots=True)
class Unserved:
    """Due calls of one function that no running worker takes."""

    function: str
    executor: str
    count: int
    since: datetime


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
    """Returns the groups of due calls that no running worker takes.

    Returns none while no worker runs at all: that is reported as such. The calls of a single
    execution are returned as soon as they are due.
    """
    if not fleet.workers:
        return []
    served = fleet.served()
    due = Call.objects.using(using).due(now - UNSERVED_AFTER)
    if execution_id is not None:
        due = Call.objects.using(using).due(now).filter(execution_id=execution_id)
    # The executors are named, because an index leads with them, and there may be many sleeps.
    executors = {*served, *(entry.executor for entry in FUNCTION_REGISTRY.values())}
    due = due.filter(executor__in=executors - FIXED_EXECUTORS)
    for executor, functions in served.items():
        due = due.exclude(executor=executor, function__in=functions)
    groups = (
        due.order_by("executor", "function")
        .values_list("function", "executor")
        .annotate(Count("pk"), Min("due_at"))
    )
    return [Unserved(*group) for group in groups[:_GROUPS]]
