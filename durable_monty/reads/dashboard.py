"""The figures of the dashboard, each cheap whatever the tables hold."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils.formats import number_format

from durable_monty.models import Call, Execution, ExecutionStatus, WorkerProcess
from durable_monty.reads.occupied import OccupiedThreads
from durable_monty.reads.queues import Queues

# Counting a million rows takes a second; nobody reads the last digits.
COUNT_LIMIT = 10_000
ROWS = 10

# A worker that has been silent for longer is one that nobody expects back.
_MISSED = timedelta(hours=1)
_WORKERS = 100
# The columns that tell the state of a call, and what a row shows.
_SHOWN = (
    *"call_id kind function status executor job_id attempt failures due_at".split(),
    *"created_at started_at execution__name worker__host worker__pid worker__executor".split(),
)


@dataclass(frozen=True, slots=True)
class Count:
    """A number of rows; `capped`: there are more of them."""

    number: int
    capped: bool

    def __str__(self) -> str:
        number = number_format(self.number, force_grouping=True)
        return f"{number}+" if self.capped else number


@dataclass(frozen=True, slots=True)
class PendingCalls:
    """The oldest open calls, oldest first, and how many there are."""

    oldest: tuple[Call, ...]
    count: Count


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker that did not say that it stopped; `load` is the number of calls with it."""

    pk: int
    name: str
    alive: bool
    executor: str
    version: str
    heartbeat_at: datetime
    started_at: datetime
    load: int
    occupied: OccupiedThreads


@dataclass(frozen=True, slots=True)
class LongestWait:
    """The execution that has been due, or has waited, for longest."""

    pk: uuid.UUID
    name: str
    since: datetime


def count(rows: QuerySet[Any]) -> Count:
    number = rows.order_by()[: COUNT_LIMIT + 1].count()
    return Count(min(number, COUNT_LIMIT), capped=number > COUNT_LIMIT)


def count_statuses(using: str) -> dict[ExecutionStatus, Count]:
    """Counts executions by status; of the failed ones, those that nobody has handled."""
    executions = Execution.objects.using(using)
    counts = {
        status: count(
            executions.failures()
            if status == ExecutionStatus.FAILED
            else executions.filter(status=status)
        )
        for status in ExecutionStatus
    }
    return {status: found for status, found in counts.items() if found.number}


def read_calls_for_people(using: str) -> PendingCalls:
    calls = Call.objects.using(using).waiting_for_people()
    return PendingCalls(_oldest_calls(calls), count(calls))


def read_calls_for_workers(queues: Queues, using: str) -> PendingCalls:
    calls = Call.objects.using(using).filter(pk__in=queues.oldest[:ROWS])
    return PendingCalls(_oldest_calls(calls), Count(len(queues.oldest), queues.capped))


def read_workers(load: Mapping[int, int], now: datetime, using: str) -> tuple[WorkerRow, ...]:
    """Returns the workers that are alive or missed: the missed ones come first."""
    workers = WorkerProcess.objects.using(using).filter(
        stopped_at=None, heartbeat_at__gt=now - _MISSED
    )
    newest = workers.order_by("-heartbeat_at").defer("functions_json")[:_WORKERS]
    rows = [
        WorkerRow(
            worker.pk,
            str(worker),
            worker.is_alive(now),
            worker.executor,
            worker.version,
            worker.heartbeat_at,
            worker.started_at,
            load.get(worker.pk, 0),
            OccupiedThreads.of(worker),
        )
        for worker in newest
    ]
    return tuple(sorted(rows, key=lambda row: (row.alive, row.name)))


def find_longest_due(now: datetime, using: str) -> LongestWait | None:
    due = Execution.objects.using(using).due(now).order_by("due_at")
    return _longest(due.values_list("pk", "name", "due_at"))


def find_longest_waiting(using: str) -> LongestWait | None:
    waiting = Execution.objects.using(using).filter(status=ExecutionStatus.WAITING)
    # The keys are ordered by time, and an index has them by status.
    return _longest(waiting.order_by("pk").values_list("pk", "name", "created_at"))


def _longest(rows: QuerySet[Any, Any]) -> LongestWait | None:
    first = rows.first()
    return None if first is None else LongestWait(*first)


def _oldest_calls(calls: QuerySet[Call]) -> tuple[Call, ...]:
    oldest = calls.order_by("created_at", "pk").select_related("execution", "worker")
    return tuple(oldest.only(*_SHOWN)[:ROWS])
