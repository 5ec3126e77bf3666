"""Which rows a list shows. What is asked here has a bounded cost, however large the tables are."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.db.models import Q, QuerySet

from durable_monty.functions import DEFAULT_EXECUTOR, FUNCTION_REGISTRY, MANUAL_EXECUTOR
from durable_monty.models import Call, CallStatus, Execution, ExecutionStatus, WorkerProcess
from durable_monty.models.call import ENGINE, CallQuerySet
from durable_monty.sandbox import SLEEP

# What is due for longer than this, nobody does.
PATIENCE = timedelta(minutes=5)

# Executions that are found by their calls, at most: those that have waited longest. One more than
# counts go to, so that these say that there are more.
_FOUND = 10_001
_STUCK = 1_000

Ids = tuple[uuid.UUID, uuid.UUID]


def worker_executors(using: str) -> list[str]:
    """All but people and the engine. They are named, because an index leads with the executor,
    and sleeps can be many."""
    workers = WorkerProcess.objects.using(using).filter(stopped_at=None)
    names = {DEFAULT_EXECUTOR, *(entry.executor for entry in FUNCTION_REGISTRY.values())}
    names |= set(workers.order_by().values_list("executor", flat=True).distinct())
    return sorted(names - {MANUAL_EXECUTOR, ENGINE})


def for_workers(calls: CallQuerySet) -> CallQuerySet:
    """Open calls that workers run."""
    return calls.open().functions().filter(executor__in=worker_executors(calls.db))


def waiting_for_people(executions: QuerySet[Execution]) -> QuerySet[Execution]:
    return executions.filter(
        pk__in=_of(Call.objects.using(executions.db).waiting_for_people(), executions.db)
    )


def waiting_for_function(executions: QuerySet[Execution], function: str) -> QuerySet[Execution]:
    calls = Call.objects.using(executions.db).open().filter(function=function)
    return executions.filter(pk__in=_of(calls, executions.db))


def failed_since(executions: QuerySet[Execution], moment: datetime) -> QuerySet[Execution]:
    return executions.filter(status=ExecutionStatus.FAILED, finished_at__gte=moment)


def stuck(executions: QuerySet[Execution], now: datetime) -> QuerySet[Execution]:
    """Executions and calls that are due and nobody takes, sleeps that are over and nobody ends,
    and executions that a replay mismatch paused."""
    late, using = now - PATIENCE, executions.db
    mismatched = Q(status=ExecutionStatus.PAUSED, error_type__gt="")
    found = Execution.objects.using(using).filter(Q(due_at__lte=late) | mismatched)
    work = Q(executor__in=worker_executors(using), finished_at=None)
    sleeps = Q(executor=ENGINE, function=SLEEP)
    calls = Call.objects.using(using).filter(work | sleeps, due_at__lte=late)
    ids = set(found.order_by().values_list("pk", flat=True)[:_STUCK])
    ids.update(calls.order_by().values_list("execution_id", flat=True)[:_STUCK])
    return executions.filter(pk__in=ids)


def with_error(executions: QuerySet[Execution], error_type: str) -> QuerySet[Execution]:
    return executions.filter(_erred(error_type))


def matching(executions: QuerySet[Execution], term: str, ids: Ids | None) -> QuerySet[Execution]:
    """Those with this key, name or error, or with such ids: the first of these that there are.

    One after another: "or" would have SQLite read and sort all of them.
    """
    everything = Execution.objects.using(executions.db)
    wanted = Q(key=term) | Q(name=term) | _erred(term)
    if ids is not None:
        wanted |= Q(pk__range=ids)
    found = everything.filter(wanted).order_by().values_list("key", "name", "error_type").first()
    match found:
        case None:
            return executions.none()
        case (key, _name, _error) if key == term:
            return executions.filter(key=term)
        case (_key, name, _error) if name == term:
            return executions.filter(name=term)
        case (_key, _name, error) if error == term:
            return executions.filter(_erred(term))
    return executions.filter(pk__range=ids)


def with_status(calls: CallQuerySet, status: str) -> CallQuerySet:
    """With what the index of this status says of its rows, so that it is used."""
    if status in (CallStatus.PENDING, CallStatus.SUBMITTED):
        # An executor at all: the index of open calls leads with it.
        return calls.open().filter(status=status, executor__gt="")
    if status == CallStatus.COMPLETED:
        return calls.filter(status=status)
    return calls.unsuccessful().filter(status=status)


def _erred(error_type: str) -> Q:
    return Q(error_type=error_type, finished_at__isnull=False, output=None)


def _of(calls: CallQuerySet, using: str) -> Any:
    """The executions of the calls that have waited longest."""
    found = calls.order_by("created_at").values_list("execution_id", flat=True)[:_FOUND]
    if connections[using].features.allow_sliced_subqueries_with_in:
        return found
    return list(found)
