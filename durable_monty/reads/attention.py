"""What needs somebody's attention, from figures that cost little; the doctor looks at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from urllib.parse import urlencode

from django.db.models import Model
from django.utils.translation import gettext as _, ngettext

from durable_monty.models import Call, Execution, ExecutionStatus, WorkerProcess
from durable_monty.reads.dashboard import Worker, count
from durable_monty.reads.lists import PATIENCE
from durable_monty.reads.queues import Queues
from durable_monty.reads.times import ago
from durable_monty.reads.waiting import Fleet

_NAMED = 4


@dataclass(frozen=True, slots=True)
class Notice:
    """`list` and `query`: the rows that it is about, if there are any."""

    severity: Literal["error", "warning"]
    message: str
    list: type[Model] | None = None
    query: str = ""


def attention(
    queues: Queues, workers: Sequence[Worker], fleet: Fleet, now: datetime, using: str
) -> tuple[Notice, ...]:
    return (
        *_without_workers(queues, fleet, now, using),
        *_late_executions(fleet, now, using),
        *_unserved(queues, fleet, now),
        *_late_calls(queues, fleet, now),
        *_paused(using),
        *_silent(workers, now),
    )


def _without_workers(queues: Queues, fleet: Fleet, now: datetime, using: str) -> Iterator[Notice]:
    if fleet.workers:
        return
    if queues.oldest or Execution.objects.using(using).due(now).exists():
        text = _("No worker is running, but work waits: start one with “manage.py runworker”.")
        yield Notice("error", text)


def _late_executions(fleet: Fleet, now: datetime, using: str) -> Iterator[Notice]:
    if not fleet.workers:
        return
    late = count(Execution.objects.using(using).due(now - PATIENCE))
    if late.number:
        text = ngettext(
            "%(count)s execution is late by five minutes: workers are too few, or stuck.",
            "%(count)s executions are late by five minutes: workers are too few, or stuck.",
            late.number,
        )
        yield Notice("error", text % {"count": late}, Execution, "?attention=stuck")


def _unserved(queues: Queues, fleet: Fleet, now: datetime) -> Iterator[Notice]:
    for queue in queues.functions if fleet.workers else ():
        if queue.obstacle and queue.since is not None:
            text = _("Calls of %(function)s became due %(ago)s, but %(obstacle)s.")
            facts = {"function": queue.function, "obstacle": queue.obstacle}
            facts["ago"] = ago(queue.since, now)
            query = urlencode({"waiting": "worker", "function": queue.function})
            yield Notice("error", text % facts, Call, f"?{query}")


def _late_calls(queues: Queues, fleet: Fleet, now: datetime) -> Iterator[Notice]:
    late = [
        (queue.since, queue.function)
        for queue in queues.functions
        if queue.since is not None and queue.since < now - PATIENCE and not queue.obstacle
    ]
    if late and fleet.workers:
        text = _("Calls became due %(ago)s: workers are too few, or stuck (%(functions)s).")
        names = ", ".join(function for _since, function in late[:_NAMED])
        facts = {"ago": ago(min(late)[0], now), "functions": names}
        yield Notice("error", text % facts, Call, "?waiting=worker")


def _paused(using: str) -> Iterator[Notice]:
    executions = Execution.objects.using(using)
    paused = executions.filter(status=ExecutionStatus.PAUSED, error_type__gt="")
    if not count(paused).number:
        return
    faulted = count(paused.filter(error_type="HostFault"))
    if faulted.number:
        text = ngettext(
            "%(count)s execution is paused, because its turn could not be run.",
            "%(count)s executions are paused, because their turns could not be run.",
            faulted.number,
        )
        yield Notice("error", text % {"count": faulted}, Execution, "?attention=stuck")
    mismatched = count(paused.exclude(error_type="HostFault"))
    if mismatched.number:
        text = ngettext(
            "%(count)s execution is paused, because its replay differs from its journal.",
            "%(count)s executions are paused, because their replays differ from their journals.",
            mismatched.number,
        )
        yield Notice("error", text % {"count": mismatched}, Execution, "?attention=stuck")


def _silent(workers: Sequence[Worker], now: datetime) -> Iterator[Notice]:
    for worker in workers:
        if not worker.alive:
            text = _("The heartbeat of worker %(worker)s stopped %(ago)s.")
            facts = {"worker": worker.name, "ago": ago(worker.heartbeat_at, now)}
            yield Notice("warning", text % facts, WorkerProcess, "?state=gone")
