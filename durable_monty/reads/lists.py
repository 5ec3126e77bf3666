"""The rows of lists. Each filter has a bounded cost, however large the tables are."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from durable_monty.functions import DEFAULT_EXECUTOR, FUNCTION_REGISTRY, MANUAL_EXECUTOR
from durable_monty.kinds import ENGINE, FIXED_EXECUTORS, PERSON, TIMER
from durable_monty.models import Call, CallStatus, Execution, ExecutionStatus, WorkerProcess
from durable_monty.models.call import CallQuerySet
from durable_monty.models.execution import ExecutionQuerySet

# Work that has been due for longer is late: no worker does it.
LATE_AFTER = timedelta(minutes=5)

# The most calls by which executions are found. They are read first: joined, the planner may walk
# along all executions to find those that have waited longest, which are the last.
_FOUND = 1_000

Ids = tuple[uuid.UUID, uuid.UUID]


def worker_executors(using: str) -> list[str]:
    """Returns the names of the executors whose calls workers run."""
    # Queries name them, because an index leads with the executor, and there may be many sleeps.
    workers = WorkerProcess.objects.using(using).filter(stopped_at=None)
    names = {DEFAULT_EXECUTOR, *(entry.executor for entry in FUNCTION_REGISTRY.values())}
    for executors in workers.order_by().values_list("executor", flat=True).distinct():
        names |= set(executors.split(","))
    return sorted(names - FIXED_EXECUTORS)


def for_workers(calls: CallQuerySet) -> CallQuerySet:
    """Returns the open calls that workers run."""
    waiting = calls.open().functions()
    # Of one executor, which is the rule, an index has them by age; of several they are sorted.
    every = Call.objects.using(calls.db).filter(finished_at=None)
    names = worker_executors(calls.db)
    found = [name for name in names if every.filter(executor=name).exists()]
    # An index has the calls of one executor by age; those of several have to be sorted.
    one = len(found) == 1
    return waiting.filter(executor=found[0]) if one else waiting.filter(executor__in=found)


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
        # A call that does not wait for people has a due time: an index has these by function.
        executors = [*worker_executors(using), ENGINE]
        calls = calls.filter(executor__in=executors, due_at__isnull=False).order_by()
    return executions.filter(pk__in=_executions_of(calls))


def failed_since(executions: ExecutionQuerySet, moment: datetime) -> ExecutionQuerySet:
    """Returns the failures that nobody has retried or resolved yet."""
    return executions.failures().filter(finished_at__gte=moment)


def stuck(executions: QuerySet[Execution], now: datetime) -> QuerySet[Execution]:
    """Returns executions whose turn, call or sleep is overdue, and those that an error paused."""
    late, using = now - LATE_AFTER, executions.db
    mismatched = Q(status=ExecutionStatus.PAUSED, error_type__gt="")
    found = Execution.objects.using(using).filter(Q(due_at__lte=late) | mismatched)
    work = Q(executor__in=worker_executors(using), finished_at=None)
    sleeps = TIMER.rows
    calls = Call.objects.using(using).filter(work | sleeps, due_at__lte=late)
    ids = set(found.order_by().values_list("pk", flat=True)[:_FOUND])
    ids |= _executions_of(calls.order_by())
    return executions.filter(pk__in=ids)


def with_error(executions: QuerySet[Execution], error_type: str) -> QuerySet[Execution]:
    return executions.filter(_erred(error_type))


def search_executions(
    executions: QuerySet[Execution], term: str, ids: Ids | None
) -> QuerySet[Execution]:
    """Returns the executions with this key, else with this name, error, or one of these ids."""
    everything = Execution.objects.using(executions.db)
    wanted = Q(key=term) | Q(name=term) | _erred(term)
    if ids is not None:
        wanted |= Q(pk__range=ids)
    found = everything.filter(wanted).order_by().values_list("key", "name", "error_type").first()
    # One after another: with OR, SQLite would read and sort all that match.
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
    """Returns the calls with this status, under the condition that its index has."""
    if status in (CallStatus.PENDING, CallStatus.SUBMITTED):
        # The index of open calls leads with the executor: any is enough for its use.
        return calls.open().filter(status=status, executor__gt="")
    if status == CallStatus.COMPLETED:
        return calls.filter(status=status)
    return calls.unsuccessful().filter(status=status)


def _erred(error_type: str) -> Q:
    return Q(error_type=error_type, finished_at__isnull=False, output=None)


def _executions_of(calls: CallQuerySet) -> set[uuid.UUID]:
    return set(calls.values_list("execution_id", flat=True)[:_FOUND])
