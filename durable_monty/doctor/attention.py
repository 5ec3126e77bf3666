"""What needs somebody's attention, from figures that cost little; the doctor looks at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlencode

from django.db.models import Model
from django.utils.translation import gettext as _, ngettext

from durable_monty.models import Call, Execution, ExecutionStatus, WorkerProcess
from durable_monty.reads.dashboard import Count, WorkerRow, count
from durable_monty.reads.fleet import Fleet, find_unserved
from durable_monty.reads.lists import LATE_AFTER
from durable_monty.reads.queues import Queues
from durable_monty.wording.times import ago, span

_NAMED = 4
# Fewer failures are not a reason for alarm, whatever share they are.
_FEW = 2


Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Notice:
    """`list` and `query`: the rows that it is about, if there are any."""

    severity: Severity
    message: str
    list: type[Model] | None = None
    query: str = ""


def find_notices(
    queues: Queues, workers: Sequence[WorkerRow], fleet: Fleet, now: datetime, using: str
) -> tuple[Notice, ...]:
    return (
        *_without_workers(queues, fleet, now, using),
        *_late_executions(fleet, now, using),
        *_unserved(fleet, now, using),
        *_late_calls(queues, fleet, now),
        *_paused(using),
        *_failing(now, using),
        *_stuck(workers),
        *_silent(workers, now),
    )


def _without_workers(queues: Queues, fleet: Fleet, now: datetime, using: str) -> Iterator[Notice]:
    if fleet.workers:
        return
    executions, calls = count(Execution.objects.using(using).due(now)), len(queues.oldest)
    waiting = []
    if number := executions.number:
        text = ngettext("%(count)s execution", "%(count)s executions", number)
        waiting.append(text % {"count": executions})
    if calls:
        text = ngettext("%(count)s call", "%(count)s calls", calls)
        waiting.append(text % {"count": Count(calls, queues.capped)})
    if waiting:
        text = _("No worker is running; waiting: %(work)s. Start one: “manage.py runworker”.")
        yield Notice("error", text % {"work": ", ".join(waiting)})


def _late_executions(fleet: Fleet, now: datetime, using: str) -> Iterator[Notice]:
    if not fleet.workers:
        return
    late = count(Execution.objects.using(using).due(now - LATE_AFTER))
    if late.number:
        text = ngettext(
            "%(count)s execution is overdue by 5 minutes or more: add workers, or look for stuck "
            "ones.",
            "%(count)s executions are overdue by 5 minutes or more: add workers, or look for "
            "stuck ones.",
            late.number,
        )
        yield Notice("error", text % {"count": late}, Execution, "?attention=stuck")


def _unserved(fleet: Fleet, now: datetime, using: str) -> Iterator[Notice]:
    for group in find_unserved(fleet, now, using):
        text = _("Calls of %(function)s became due %(ago)s, but %(obstacle)s.")
        facts = {"function": group.function, "obstacle": group.obstacle}
        facts["ago"] = ago(group.since, now)
        query = urlencode({"waiting": "worker", "function": group.function})
        yield Notice("error", text % facts, Call, f"?{query}")


def _late_calls(queues: Queues, fleet: Fleet, now: datetime) -> Iterator[Notice]:
    late = [
        (queue.since, queue.function)
        for queue in queues.functions
        if queue.since is not None and queue.since < now - LATE_AFTER and not queue.obstacle
    ]
    if late and fleet.workers:
        text = _("Calls became due %(ago)s: add workers, or look for stuck ones (%(functions)s).")
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


def _failing(now: datetime, using: str) -> Iterator[Notice]:
    """At least half of what ended in the last hour failed, and nobody has handled it."""
    executions, since = Execution.objects.using(using), now - timedelta(hours=1)
    failed = count(executions.failures().filter(finished_at__gte=since))
    if failed.number < _FEW:
        return
    completed = count(executions.filter(status=ExecutionStatus.COMPLETED, finished_at__gte=since))
    if failed.number >= completed.number and not completed.capped:
        ended = Count(failed.number + completed.number, failed.capped)
        text = _("%(failed)s of the %(ended)s executions that ended in the last hour failed.")
        yield Notice(
            "error", text % {"failed": failed, "ended": ended}, Execution, "?attention=failed"
        )


def _stuck(workers: Sequence[WorkerRow]) -> Iterator[Notice]:
    for worker in workers:
        stuck = worker.stuck
        if not worker.alive or not stuck.calls:
            continue
        if stuck.are_all_occupied:
            text = _(
                "Worker %(worker)s runs nothing: calls that nobody waits for occupy all its "
                "threads (%(functions)s). Restart it."
            )
        else:
            text = _(
                "Calls that nobody waits for occupy threads of worker %(worker)s (%(functions)s)."
            )
        functions = ", ".join(dict.fromkeys(call.function for call in stuck.calls))
        facts = {"worker": worker.name, "functions": functions}
        severity: Severity = "error" if stuck.are_all_occupied else "warning"
        yield Notice(severity, text % facts, WorkerProcess, "?state=alive")


def _silent(workers: Sequence[WorkerRow], now: datetime) -> Iterator[Notice]:
    for worker in workers:
        if not worker.alive:
            text = _("Worker %(worker)s has not reported for %(span)s.")
            facts = {"worker": worker.name, "span": span(now - worker.heartbeat_at)}
            yield Notice("warning", text % facts, WorkerProcess, "?state=gone")
