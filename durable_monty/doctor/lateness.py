"""Work that nobody does, or not in time, and executions that need a person."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Min, Q, QuerySet

from durable_monty.doctor.findings import Check, Finding, Scope, number
from durable_monty.kinds import ENGINE, PERSON
from durable_monty.models import CallStatus, ExecutionStatus, WorkerProcess
from durable_monty.models.execution import UNFINISHED
from durable_monty.models.worker_process import DEAD_AFTER
from durable_monty.operations.transitions import MAX_FAULTS
from durable_monty.reads.fleet import Fleet, find_unserved, read_fleet
from durable_monty.reads.occupied import OccupiedThreads

_START = "Start one: manage.py runworker."
_BUSY = (
    "Workers are too few or too slow, or stuck: see whether they run and what they log, and start "
    "more of them (manage.py runworker)."
)


def undone(scope: Scope) -> Iterator[Finding]:
    """What is due and nobody does: because there is no worker, or none that can, or too few."""
    alive = read_fleet(scope.now, scope.using)
    if not alive.workers:
        yield from _without_workers(scope)
        return
    yield from _late_executions(scope)
    yield from _late_timers(scope)
    yield from _late_calls(scope, alive)
    yield from _late_deadlines(scope)


def paused_by_mismatch(scope: Scope) -> Iterator[Finding]:
    paused = scope.executions().filter(status=ExecutionStatus.PAUSED, error_type="ReplayMismatch")
    for execution_id, why in scope.cut(paused.order_by("pk").values_list("pk", "error_message")):
        yield Finding(
            "replay-mismatch",
            "error",
            f"It is paused, with nothing lost. {why} Its journal was written by another version "
            "of its functions or of pydantic-monty: run workers of that version and resume it, "
            "or terminate it and start it again.",
            execution_id,
        )


def paused_by_faults(scope: Scope) -> Iterator[Finding]:
    paused = scope.executions().filter(status=ExecutionStatus.PAUSED, error_type="HostFault")
    for execution_id, why in scope.cut(paused.order_by("pk").values_list("pk", "error_message")):
        yield Finding(
            "host-fault",
            "error",
            f"It is paused, with nothing lost. {why}. This is a fault of durable_monty or of its "
            "installation, not of the workflow. The workers' logs have its traceback ('turn "
            "failed'). Resume it when the fault is mended.",
            execution_id,
        )


def failing_turns(scope: Scope) -> Iterator[Finding]:
    failing = scope.executions().active().filter(faults__gte=2).order_by("pk")
    for execution_id, turn, faults in scope.cut(failing.values_list("pk", "turn", "faults")):
        yield Finding(
            "failing-turn",
            "warning",
            f"Turn {turn + 1} could not be run {faults} times; after {MAX_FAULTS} it fails or is "
            "paused. The workers' logs say why ('execution could not be advanced').",
            execution_id,
        )


def held_by_stopped(scope: Scope) -> Iterator[Finding]:
    held = Q(due_at__gt=scope.now, claim__isnull=False, worker__stopped_at__isnull=False)
    executions = scope.executions().active().filter(held).select_related("worker").order_by("pk")
    for execution in scope.cut(executions):
        what = f"Turn {execution.turn + 1} is held until {scope.when(execution.due_at)}"
        yield _held(what, execution.worker, execution.pk, None)
    calls = scope.calls().open().filter(held, status=CallStatus.SUBMITTED).order_by("pk")
    for call in scope.cut(calls.select_related("worker")):
        what = f"{call.function}() is held until {scope.when(call.due_at)}"
        yield _held(what, call.worker, call.execution_id, call.call_id)


def held_by_silent(scope: Scope) -> Iterator[Finding]:
    silent = Q(
        due_at__gt=scope.now,
        claim__isnull=False,
        worker__stopped_at=None,
        worker__heartbeat_at__lte=scope.now - DEAD_AFTER,
    )
    turns = _by_worker(scope.executions().active().filter(silent))
    calls = _by_worker(scope.calls().open().filter(silent, status=CallStatus.SUBMITTED))
    workers = WorkerProcess.objects.using(scope.using).in_bulk(turns.keys() | calls.keys())
    for pk, worker in sorted(workers.items()):
        held = [count for count in (turns.get(pk), calls.get(pk)) if count is not None]
        back = max(until for _count, until in held)
        yield Finding(
            "silent-worker",
            "warning",
            f"The heartbeat of worker {worker} stopped at {scope.when(worker.heartbeat_at)}, and "
            f"it still holds {number(turns.get(pk, (0,))[0], 'turn', 'turns')} and "
            f"{number(calls.get(pk, (0,))[0], 'call', 'calls')}. "
            f"They come back by themselves until {scope.when(back)}. See why it ended; if it only "
            "hangs, stop it.",
            scope.execution_id,
        )


def stuck_workers(scope: Scope) -> Iterator[Finding]:
    alive = WorkerProcess.objects.using(scope.using).alive(scope.now)
    for worker in scope.cut(alive.exclude(stuck_json="{}").order_by("pk")):
        stuck = OccupiedThreads.of(worker)
        calls = [call for call in stuck.calls if scope.execution_id in {None, call.execution_id}]
        if calls:
            yield Finding(
                "stuck-worker",
                "error" if stuck.are_all_occupied else "warning",
                f"{number(len(stuck.calls), 'call occupies', 'calls occupy')} {stuck.share} of "
                f"worker {worker}, although nobody waits for "
                f"{'it' if len(stuck.calls) == 1 else 'them'} any more: "
                f"{', '.join(map(str, calls[:5]))}. Restart it, and let these functions end by "
                "themselves: with a time-out of what they call, or check_cancelled().",
                scope.execution_id,
            )


def _without_workers(scope: Scope) -> Iterator[Finding]:
    executions = scope.executions().due(scope.now).aggregate(n=Count("pk"), since=Min("due_at"))
    calls = scope.calls().due(scope.now).exclude(PERSON.rows)
    waiting = calls.aggregate(n=Count("pk"), since=Min("due_at"))
    since = [moment for moment in (executions["since"], waiting["since"]) if moment is not None]
    if not since:
        return
    last = WorkerProcess.objects.using(scope.using).order_by("-heartbeat_at").first()
    seen = "none was ever seen" if last is None else f"the last sign of life was of {last}, at "
    if last is not None:
        seen += scope.when(last.heartbeat_at)
    yield Finding(
        "no-worker",
        "error",
        f"No worker is running ({seen}), but work is due: "
        f"{number(executions['n'], 'execution', 'executions')} and "
        f"{number(waiting['n'], 'call', 'calls')}, the oldest since {scope.when(min(since))}. "
        f"{_START}",
        scope.execution_id,
    )


def _late_executions(scope: Scope) -> Iterator[Finding]:
    late = scope.executions().due(scope.now - scope.late_after)
    oldest = late.order_by("due_at").values_list("pk", "due_at").first()
    if oldest is not None:
        yield Finding(
            "late-executions",
            "error",
            f"{number(late.count(), 'execution is', 'executions are')} due for more than "
            f"{_minutes(scope)}, this one since "
            f"{scope.when(oldest[1])}. {_BUSY}",
            oldest[0],
        )


def _late_timers(scope: Scope) -> Iterator[Finding]:
    late = scope.calls().due(scope.now - scope.late_after).filter(executor=ENGINE)
    oldest = late.order_by("due_at").first()
    if oldest is not None:
        yield Finding(
            "late-timers",
            "error",
            f"{number(late.count(), 'sleep is', 'sleeps are')} over for more than "
            f"{_minutes(scope)}, this one since "
            f"{scope.when(oldest.due_at)}. {_BUSY}",
            oldest.execution_id,
            oldest.call_id,
        )


def _late_calls(scope: Scope, alive: Fleet) -> Iterator[Finding]:
    found = find_unserved(alive, scope.now, scope.using, scope.execution_id)
    for group in found:
        due = _due(scope, group.count, group.function, group.since)
        yield _unserved(scope, due, group.obstacle)
    late = scope.calls().due(scope.now - scope.late_after).functions()
    late = late.exclude(PERSON.rows)
    groups = (
        late.order_by("executor", "function")
        .values_list("executor", "function")
        .annotate(Count("pk"), Min("due_at"))
    )
    for executor, function, count, since in scope.cut(groups):
        due = _due(scope, count, function, since)
        if not (why := alive.obstacle(function, executor)):
            yield Finding("late-calls", "error", f"{due}. {_BUSY}", scope.execution_id)
        elif (function, executor) not in {(group.function, group.executor) for group in found}:
            yield _unserved(scope, due, why)  # of an executor that nobody knows any more


def _unserved(scope: Scope, due: str, obstacle: str) -> Finding:
    return Finding(
        "unserved-function",
        "error",
        f"{due}, but {obstacle}. Start a worker whose code registers it, in an installed app or "
        "DURABLE_MONTY['FUNCTION_MODULES'].",
        scope.execution_id,
    )


def _due(scope: Scope, count: int, function: str, since: datetime) -> str:
    return f"{number(count, 'call', 'calls')} of {function}() due since {scope.when(since)}"


def _late_deadlines(scope: Scope) -> Iterator[Finding]:
    limit = scope.now - scope.late_after
    executions = scope.executions().filter(status__in=UNFINISHED)
    past = executions.filter(Q(deadline__lte=limit) | Q(grace_until__lte=limit)).count()
    calls = scope.calls().filter(deadline_at__lte=limit).count()
    if past or calls:
        yield Finding(
            "late-deadlines",
            "error",
            f"{number(past, 'deadline', 'deadlines')} of executions and "
            f"{number(calls, 'time-out', 'time-outs')} of calls passed more than "
            f"{_minutes(scope)} ago, and nobody acted on them. {_BUSY}",
            scope.execution_id,
        )


def _held(
    what: str, worker: WorkerProcess | None, execution_id: uuid.UUID, call_id: int | None
) -> Finding:
    return Finding(
        "stopped-worker",
        "warning",
        f"{what} by worker {worker}, which has stopped. Let another have it at once (--fix), or "
        "wait.",
        execution_id,
        call_id,
        fixable=True,
    )


def _by_worker(held: QuerySet[Any]) -> dict[int, tuple[int, datetime]]:
    groups = held.order_by("worker_id").values_list("worker_id")
    return {pk: (n, until) for pk, n, until in groups.annotate(Count("pk"), Max("due_at"))}


def _minutes(scope: Scope) -> str:
    return number(round(scope.late_after.total_seconds() / 60), "minute", "minutes")


LATENESS: Sequence[Check] = (
    undone,
    paused_by_mismatch,
    paused_by_faults,
    failing_turns,
    held_by_stopped,
    held_by_silent,
    stuck_workers,
)
