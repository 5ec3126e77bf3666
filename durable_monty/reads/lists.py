"""Which rows a list shows. What is asked here has a bounded cost, however large the tables are."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from durable_monty.functions import DEFAULT_EXECUTOR, FUNCTION_REGISTRY, MANUAL_EXECUTOR
from durable_monty.kinds import ENGINE, FIXED_EXECUTORS, PERSON, TIMER
from durable_monty.models import Call, CallStatus, Execution, ExecutionStatus, WorkerProcess
from durable_monty.models.call import CallQuerySet
from durable_monty.models.execution import ExecutionQuerySet

# What is due for longer than this, nobody does.
LATE_AFTER = timedelta(minutes=5)

# Calls by which executions are found, at most. They are read first: joined, the planner may walk
# along all executions to find those that have waited longest, which are the last.
FOUND = 1_000

Ids = tuple[uuid.UUID, uuid.UUID]


def worker_executors(using: str) -> list[str]:
    """All but people and the engine. They are named, because an index leads with the executor,
    and sleeps can be many."""
    workers = WorkerProcess.objects.using(using).filter(stopped_at=None)
    names = {DEFAULT_EXECUTOR, *(entry.executor for entry in FUNCTION_REGISTRY.values())}
    for executors in workers.order_by().values_list("executor", flat=True).distinct():
        names |= set(executors.split(","))
    return sorted(names - FIXED_EXECUTORS)


def for_workers(calls: CallQuerySet) -> CallQuerySet:
    """Open calls that workers run."""
    waiting = calls.open().functions()
    # Of one executor, which is the rule, an index has them by age; of several they are sorted.
    found = [name for name in worker_executors(calls.db) if _any_open(name, calls.db)]
    return (
        waiting.filter(executor=found[0])
        if len(found) == 1
        else waiting.filter(executor__in=found)
    )


def waiting_for_people(executions: QuerySet[Execution]) -> QuerySet[Execution]:
    calls = Call.objects.using(executions.db).waiting_for_people().order_by("created_at")
    return executions.filter(pk__in=_executions_of(calls))


def waiting_for_function(executions: QuerySet[Execution], function: str) -> QuerySet[Execution]:
    using = executions.db
    calls = Call.objects.using(using).open().filter(function=function)
    known = FUNCTION_REGISTRY.get(function)
    if known is not None and known.executor == MANUAL_EXECUTOR:
        calls = calls.filter(PERSON.rows).order_by("created_at")
    else:
        # What does not wait for people is due, now or later: an index has this by function.
        executors = [*worker_executors(using), ENGINE]
        calls = calls.filter(executor__in=executors, due_at__isnull=False).order_by()
    return executions.filter(pk__in=_executions_of(calls))


def failed_since(executions: ExecutionQuerySet, moment: datetime) -> ExecutionQuerySet:
    """Those that nobody has retried or resolved yet."""
    return executions.failures().filter(finished_at__gte=moment)


def stuck(executions: QuerySet[Execution], now: datetime) -> QuerySet[Execution]:
    """Executions and calls that are due and nobody takes, sleeps that are over and nobody ends,
    and executions that a replay mismatch paused."""
    late, using = now - LATE_AFTER, executions.db
    mismatched = Q(status=ExecutionStatus.PAUSED, error_type__gt="")
    found = Execution.objects.using(using).filter(Q(due_at__lte=late) | mismatched)
    work = Q(executor__in=worker_executors(using), finished_at=None)
    sleeps = TIMER.rows
    calls = Call.objects.using(using).filter(work | sleeps, due_at__lte=late)
    ids = set(found.order_by().values_list("pk", flat=True)[:FOUND])
    ids |= _executions_of(calls.order_by())
    return executions.filter(pk__in=ids)


def with_error(executions: QuerySet[Execution], error_type: str) -> QuerySet[Execution]:
    return executions.filter(_erred(error_type))


def search_executions(
    executions: QuerySet[Execution], term: str, ids: Ids | None
) -> QuerySet[Execution]:
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


def _any_open(executor: str, using: str) -> bool:
    return Call.objects.using(using).filter(executor=executor, finished_at=None).exists()


def _executions_of(calls: CallQuerySet) -> set[uuid.UUID]:
    return set(calls.values_list("execution_id", flat=True)[:FOUND])
