"""What the dashboard warns of. The figures cost little; `durable_doctor` looks at everything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
from durable_monty.wording.calls import obstacle_text
from durable_monty.wording.times import ago, span

_NAMED = 4
# A single failure is no reason for alarm, although it may be all that ended in the hour.
_FEW = 2

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning for staff; `list` and `query` find the rows that it is about."""

    severity: Severity
    message: str
    list: type[Model] | None = None
    query: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """The figures that the dashboard has read anyway."""

    queues: Queues
    workers: Sequence[WorkerRow]
    fleet: Fleet
    now: datetime
    using: str


def find_notices(situation: Situation) -> Iterator[Notice]:
    for rule in RULES:
        yield from rule(situation)


def no_worker(situation: Situation) -> Iterator[Notice]:
    if situation.fleet.workers:
        return
    executions = count(Execution.objects.using(situation.using).due(situation.now))
    calls = Count(len(situation.queues.oldest), situation.queues.capped)
    waiting = []
    if executions.number:
        text = ngettext("%(count)s execution", "%(count)s executions", executions.number)
        waiting.append(text % {"count": executions})
    if calls.number:
        text = ngettext("%(count)s call", "%(count)s calls", calls.number)
        waiting.append(text % {"count": calls})
    if waiting:
        text = _("No worker is running; waiting: %(work)s. Start one: “manage.py runworker”.")
        yield Notice("error", text % {"work": ", ".join(waiting)})


def late_executions(situation: Situation) -> Iterator[Notice]:
    # Without workers all work is late, and `no_worker` says so.
    if not situation.fleet.workers:
        return
    late = count(Execution.objects.using(situation.using).due(situation.now - LATE_AFTER))
    if late.number:
        text = ngettext(
            "%(count)s execution is overdue by 5 minutes or more: add workers, or look for stuck "
            "ones.",
            "%(count)s executions are overdue by 5 minutes or more: add workers, or look for "
            "stuck ones.",
            late.number,
        )
        yield Notice("error", text % {"count": late}, Execution, "?attention=stuck")


def unserved_functions(situation: Situation) -> Iterator[Notice]:
    for group in find_unserved(situation.fleet, situation.now, situation.using):
        text = _("Calls of %(function)s became due %(ago)s, but %(obstacle)s.")
        facts = {
            "function": group.function,
            "ago": ago(group.since, situation.now),
            "obstacle": obstacle_text(group, situation.fleet),
        }
        query = urlencode({"waiting": "worker", "function": group.function})
        yield Notice("error", text % facts, Call, f"?{query}")


def late_calls(situation: Situation) -> Iterator[Notice]:
    # The queues are in memory already; a function that no worker has is reported by itself.
    late = [
        (queue.since, queue.function)
        for queue in situation.queues.functions
        if queue.since is not None
        and queue.since < situation.now - LATE_AFTER
        and queue.obstacle is None
    ]
    if late:
        text = _("Calls became due %(ago)s: add workers, or look for stuck ones (%(functions)s).")
        names = ", ".join(function for _since, function in late[:_NAMED])
        facts = {"ago": ago(min(late)[0], situation.now), "functions": names}
        yield Notice("error", text % facts, Call, "?waiting=worker")


def paused_executions(situation: Situation) -> Iterator[Notice]:
    executions = Execution.objects.using(situation.using)
    paused = executions.filter(status=ExecutionStatus.PAUSED, error_type__gt="")
    # Hardly ever is one paused by an error: then a single query is enough.
    if not count(paused).number:
        return
    if (faulted := count(paused.filter(error_type="HostFault"))).number:
        text = ngettext(
            "%(count)s execution is paused, because its turn could not be run.",
            "%(count)s executions are paused, because their turns could not be run.",
            faulted.number,
        )
        yield Notice("error", text % {"count": faulted}, Execution, "?attention=stuck")
    if (mismatched := count(paused.exclude(error_type="HostFault"))).number:
        text = ngettext(
            "%(count)s execution is paused, because its replay differs from its journal.",
            "%(count)s executions are paused, because their replays differ from their journals.",
            mismatched.number,
        )
        yield Notice("error", text % {"count": mismatched}, Execution, "?attention=stuck")


def many_failures(situation: Situation) -> Iterator[Notice]:
    """At least half of the executions that ended in the last hour failed and wait for someone."""
    executions = Execution.objects.using(situation.using)
    since = situation.now - timedelta(hours=1)
    # Failures that were retried or resolved alarm nobody again.
    failed = count(executions.failures().filter(finished_at__gte=since))
    if failed.number < _FEW:
        return
    completed = count(executions.filter(status=ExecutionStatus.COMPLETED, finished_at__gte=since))
    if failed.number >= completed.number and not completed.capped:
        ended = Count(failed.number + completed.number, failed.capped)
        text = _("%(failed)s of the %(ended)s executions that ended in the last hour failed.")
        facts = {"failed": failed, "ended": ended}
        yield Notice("error", text % facts, Execution, "?attention=failed")


def occupied_threads(situation: Situation) -> Iterator[Notice]:
    # The threads of a worker that is gone went with it.
    for worker in situation.workers:
        occupied = worker.occupied
        if not worker.alive or not occupied.calls:
            continue
        if occupied.are_all_occupied:
            text = _(
                "Worker %(worker)s runs nothing: calls that nobody waits for occupy all its "
                "threads (%(functions)s). Restart it."
            )
        else:
            text = _(
                "Calls that nobody waits for occupy threads of worker %(worker)s (%(functions)s)."
            )
        functions = ", ".join(dict.fromkeys(call.function for call in occupied.calls))
        facts = {"worker": worker.name, "functions": functions}
        severity: Severity = "error" if occupied.are_all_occupied else "warning"
        yield Notice(severity, text % facts, WorkerProcess, "?state=alive")


def silent_workers(situation: Situation) -> Iterator[Notice]:
    for worker in situation.workers:
        if not worker.alive:
            text = _("Worker %(worker)s has not reported for %(span)s.")
            facts = {"worker": worker.name, "span": span(situation.now - worker.heartbeat_at)}
            yield Notice("warning", text % facts, WorkerProcess, "?state=gone")


RULES: Sequence[Callable[[Situation], Iterable[Notice]]] = (
    no_worker,
    late_executions,
    unserved_functions,
    late_calls,
    paused_executions,
    many_failures,
    occupied_threads,
    silent_workers,
)
