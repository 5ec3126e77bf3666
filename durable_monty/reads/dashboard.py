"""The figures of the first page: counts, what waits and for whom, who works.

Each part is cheap whatever the tables hold: counts stop at `COUNT_LIMIT`, lists at `ROWS`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from durable_monty.functions import DEFAULT_EXECUTOR, FUNCTION_REGISTRY, MANUAL_EXECUTOR
from durable_monty.models import Call, Execution, ExecutionStatus, WorkerProcess
from durable_monty.models.call import CallQuerySet
from durable_monty.reads.waiting import Fleet, whom

COUNT_LIMIT = 10_000
ROWS = 10


@dataclass(frozen=True, slots=True)
class Count:
    """A number of rows; `capped`: there are more of them."""

    number: int
    capped: bool


@dataclass(frozen=True, slots=True)
class StatusCount:
    status: str
    label: str
    count: Count


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
class AliveWorker:
    pk: int
    name: str
    executor: str
    version: str
    heartbeat_at: datetime
    started_at: datetime


def status_counts(using: str) -> tuple[StatusCount, ...]:
    """Executions by status, those with none left out."""
    counts = [
        StatusCount(status.value, str(status.label), count(_with_status(status, using)))
        for status in ExecutionStatus
    ]
    return tuple(entry for entry in counts if entry.count.number)


def pending_for_people(fleet: Fleet, now: datetime, using: str) -> PendingCalls:
    return _pending(Call.objects.using(using).waiting_for_people(), fleet, now)


def pending_for_workers(fleet: Fleet, now: datetime, using: str) -> PendingCalls:
    # By name, and not "all others": an index leads with the executor, and sleeps can be many.
    executors = {entry.executor for entry in FUNCTION_REGISTRY.values()}
    executors |= {DEFAULT_EXECUTOR, *(worker.executor for worker in fleet.workers)}
    calls = Call.objects.using(using).open().functions()
    return _pending(calls.filter(executor__in=executors - {MANUAL_EXECUTOR}), fleet, now)


def alive_workers(now: datetime, using: str) -> tuple[AliveWorker, ...]:
    workers = WorkerProcess.objects.using(using).alive(now).order_by("host", "pid")
    return tuple(
        AliveWorker(
            worker.pk,
            str(worker),
            worker.executor,
            worker.version,
            worker.heartbeat_at,
            worker.started_at,
        )
        for worker in workers.defer("functions_json")
    )


def count(rows: QuerySet[Any]) -> Count:
    number = rows.order_by()[: COUNT_LIMIT + 1].count()
    return Count(min(number, COUNT_LIMIT), capped=number > COUNT_LIMIT)


def _with_status(status: ExecutionStatus, using: str) -> QuerySet[Execution]:
    return Execution.objects.using(using).filter(status=status)


def _pending(calls: CallQuerySet, fleet: Fleet, now: datetime) -> PendingCalls:
    oldest = calls.select_related("execution", "worker").order_by("created_at", "pk")
    wanted = oldest.only(*_SHOWN)[:ROWS]
    return PendingCalls(tuple(_row(call, fleet, now) for call in wanted), count(calls))


_SHOWN: Sequence[str] = (
    "call_id",
    "kind",
    "function",
    "status",
    "executor",
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
        whom(call, fleet, now),
    )
