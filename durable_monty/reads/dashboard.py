"""The figures of the dashboard: counts, what waits and for whom, who works.

Each part is cheap whatever the tables hold: counts stop at `COUNT_LIMIT`, lists at `ROWS`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from durable_monty.models import Call, Execution, ExecutionStatus, WorkerProcess
from durable_monty.reads.fleet import Fleet
from durable_monty.reads.occupied import OccupiedThreads
from durable_monty.reads.queues import Queues
from durable_monty.wording.calls import waits_for

COUNT_LIMIT = 10_000
ROWS = 10

# A worker is missed for so long; then it is taken for one that nobody expects back.
_MISSED = timedelta(hours=1)
_WORKERS = 100


@dataclass(frozen=True, slots=True)
class Count:
    """A number of rows; `capped`: there are more of them."""

    number: int
    capped: bool

    def __str__(self) -> str:
        number = number_format(self.number, force_grouping=True)
        return f"{number}+" if self.capped else number


@dataclass(frozen=True, slots=True)
class StatusCount:
    """`query`: that of the list which shows these."""

    status: str
    label: str
    count: Count
    query: str


@dataclass(frozen=True, slots=True)
class PendingCall:
    """An open call; `waits_for` says for whom or what."""

    pk: int
    call_id: int
    function: str
    execution_id: uuid.UUID
    execution: str
    created_at: datetime
    waits_for: str


@dataclass(frozen=True, slots=True)
class PendingCalls:
    """The oldest of the open calls, oldest first, and how many there are."""

    oldest: tuple[PendingCall, ...]
    count: Count


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker that did not say that it stopped. `load`: calls that it runs or holds."""

    pk: int
    name: str
    alive: bool
    executor: str
    version: str
    heartbeat_at: datetime
    started_at: datetime
    load: int
    stuck: OccupiedThreads


@dataclass(frozen=True, slots=True)
class LongestWait:
    """The execution that has been due, or waits, for longest."""

    pk: uuid.UUID
    name: str
    since: datetime


def count_statuses(using: str) -> tuple[StatusCount, ...]:
    """Executions by status, those with none left out; of the failed ones, those to handle."""
    counts = [
        _failures(using)
        if status == ExecutionStatus.FAILED
        else StatusCount(
            status.value,
            str(status.label),
            count(_with_status(status, using)),
            f"?status__exact={status}",
        )
        for status in ExecutionStatus
    ]
    return tuple(entry for entry in counts if entry.count.number)


def _failures(using: str) -> StatusCount:
    failures = count(Execution.objects.using(using).failures())
    return StatusCount("failed", _("Failed, not handled"), failures, "?attention=failed")


def read_calls_for_people(fleet: Fleet, now: datetime, using: str) -> PendingCalls:
    calls = Call.objects.using(using).waiting_for_people()
    oldest = calls.order_by("created_at", "pk")[:ROWS]
    return PendingCalls(_rows(oldest, fleet, now), count(calls))


def read_calls_for_workers(found: Queues, fleet: Fleet, now: datetime, using: str) -> PendingCalls:
    calls = Call.objects.using(using).filter(pk__in=found.oldest[:ROWS])
    rows = _rows(calls.order_by("created_at", "pk"), fleet, now)
    return PendingCalls(rows, Count(len(found.oldest), found.capped))


def read_workers(load: Mapping[int, int], now: datetime, using: str) -> tuple[WorkerRow, ...]:
    """Those alive, and those whose heartbeat ended within the hour, these first."""
    running = WorkerProcess.objects.using(using).filter(
        stopped_at=None, heartbeat_at__gt=now - _MISSED
    )
    newest = running.order_by("-heartbeat_at").defer("functions_json")[:_WORKERS]
    found = [
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
    return tuple(sorted(found, key=lambda worker: (worker.alive, worker.name)))


def find_longest_due(now: datetime, using: str) -> LongestWait | None:
    due = Execution.objects.using(using).due(now).order_by("due_at")
    return _oldest(due.values_list("pk", "name", "due_at"))


def find_longest_waiting(using: str) -> LongestWait | None:
    waiting = Execution.objects.using(using).filter(status=ExecutionStatus.WAITING)
    return _oldest(waiting.order_by("pk").values_list("pk", "name", "created_at"))


def count(rows: QuerySet[Any]) -> Count:
    number = rows.order_by()[: COUNT_LIMIT + 1].count()
    return Count(min(number, COUNT_LIMIT), capped=number > COUNT_LIMIT)


def _with_status(status: ExecutionStatus, using: str) -> QuerySet[Execution]:
    return Execution.objects.using(using).filter(status=status)


def _oldest(rows: QuerySet[Execution, Any]) -> LongestWait | None:
    found = rows.first()
    return None if found is None else LongestWait(*found)


def _rows(calls: QuerySet[Call], fleet: Fleet, now: datetime) -> tuple[PendingCall, ...]:
    shown = calls.select_related("execution", "worker").only(*_SHOWN)
    return tuple(_row(call, fleet, now) for call in shown)


_SHOWN: Sequence[str] = (
    "call_id",
    "kind",
    "function",
    "status",
    "executor",
    "job_id",
    "attempt",
    "due_at",
    "created_at",
    "started_at",
    "execution__name",
    "worker__host",
    "worker__pid",
)


def _row(call: Call, fleet: Fleet, now: datetime) -> PendingCall:
    return PendingCall(
        call.pk,
        call.call_id,
        call.function,
        call.execution_id,
        str(call.execution),
        call.created_at,
        waits_for(call, fleet, now),
    )
