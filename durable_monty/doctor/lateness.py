"""Checks for work that nobody does, or not in time, and for executions that need a person."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Min, Q, QuerySet

from durable_monty.doctor.findings import Check, Finding, Scope, counted
from durable_monty.kinds import PERSON, TIMER
from durable_monty.models import CallStatus, Execution, ExecutionStatus, WorkerProcess
from durable_monty.models.execution import UNFINISHED
from durable_monty.models.worker_process import DEAD_AFTER
from durable_monty.operations.transitions import MAX_FAULTS
from durable_monty.reads.fleet import Unserved, find_unserved
from durable_monty.reads.occupied import OccupiedThreads
from durable_monty.wording.calls import obstacle_text

_BUSY = (
    "Workers are too few or too slow, or stuck: see whether they run and what they log, and start "
    "more of them (manage.py runworker)."
)
_NAMED = 5


def no_worker(scope: Scope) -> Iterator[Finding]:
    if scope.fleet.workers:
        return
    executions = scope.executions().due(scope.now).aggregate(n=Count("pk"), since=Min("due_at"))
    calls = scope.calls().due(scope.now).exclude(PERSON.rows)
    waiting = calls.aggregate(n=Count("pk"), since=Min("due_at"))
    since = [moment for moment in (executions["since"], waiting["since"]) if moment is not None]
    if not since:
        return
    last = WorkerProcess.objects.using(scope.using).order_by("-heartbeat_at").first()
    seen = "none was ever seen"
    if last is not None:
        seen = f"the last sign of life was of {last}, at {scope.when(last.heartbeat_at)}"
    yield Finding(
        "no-worker",
        "error",
        f"No worker is running ({seen}), but work is due: "
        f"{counted(executions['n'], 'execution', 'executions')} and "
        f"{counted(waiting['n'], 'call', 'calls')}, the oldest since {scope.when(min(since))}. "
        "Start one: manage.py runworker.",
        scope.execution_id,
    )


# Without workers all work is late: `no_worker` says so, and the checks below are silent.
def late_executions(scope: Scope) -> Iterator[Finding]:
    late = scope.executions().due(scope.now - scope.late_after)
    yield from _late(scope, late, "late-executions", "execution is due", "executions are due")


def late_timers(scope: Scope) -> Iterator[Finding]:
    late = scope.calls().due(scope.now - scope.late_after).filter(TIMER.rows)
    yield from _late(scope, late, "late-timers", "sleep is over", "sleeps are over")


def _late(scope: Scope, late: QuerySet[Any], check: str, one: str, many: str) -> Iterator[Finding]:
    # One finding for all: thousands of late rows have one cause.
    oldest = late.order_by("due_at").first() if scope.fleet.workers else None
    if oldest is not None:
        is_execution = isinstance(oldest, Execution)
        yield Finding(
            check,
            "error",
            f"{counted(late.count(), one, many)} for more than {_minutes(scope)}, this one since "
            f"{scope.when(oldest.due_at)}. {_BUSY}",
            oldest.pk if is_execution else oldest.execution_id,
            None if is_execution else oldest.call_id,
        )


def late_calls(scope: Scope) -> Iterator[Finding]:
    if not scope.fleet.workers:
        return
    unserved = find_unserved(scope.fleet, scope.now, scope.using, scope.execution_id)
    for group in unserved:
        yield _unserved(scope, group)
    reported = {(group.function, group.executor) for group in unserved}
    late = scope.calls().due(scope.now - scope.late_after).functions().exclude(PERSON.rows)
    groups = (
        late.order_by("executor", "function")
        .values_list("function", "executor")
        .annotate(Count("pk"), Min("due_at"))
    )
    for facts in scope.cut(groups):
        group = Unserved(*facts)
        if scope.fleet.obstacle(group.function, group.executor) is None:
            due = _due_text(scope, group)
            yield Finding("late-calls", "error", f"{due}. {_BUSY}", scope.execution_id)
        # Of an executor that neither a worker nor the registry knows any more.
        elif (group.function, group.executor) not in reported:
            yield _unserved(scope, group)


def _unserved(scope: Scope, group: Unserved) -> Finding:
    return Finding(
        "unserved-function",
        "error",
        f"{_due_text(scope, group)}, but {obstacle_text(group, scope.fleet)}. Start a worker "
        "whose code registers it, in an installed app or DURABLE_MONTY['FUNCTION_MODULES'].",
        scope.execution_id,
    )


def _due_text(scope: Scope, group: Unserved) -> str:
    calls = counted(group.count, "call", "calls")
    return f"{calls} of {group.function}() due since {scope.when(group.since)}"


def late_deadlines(scope: Scope) -> Iterator[Finding]:
    if not scope.fleet.workers:
        return
    limit = scope.now - scope.late_after
    executions = scope.executions().filter(status__in=UNFINISHED)
    past = executions.filter(Q(deadline__lte=limit) | Q(grace_until__lte=limit)).count()
    calls = scope.calls().filter(deadline_at__lte=limit).count()
    if past or calls:
        yield Finding(
            "late-deadlines",
            "error",
            f"{counted(past, 'deadline', 'deadlines')} of executions and "
            f"{counted(calls, 'time-out', 'time-outs')} of calls passed more than "
            f"{_minutes(scope)} ago, and nobody acted on them. {_BUSY}",
            scope.execution_id,
        )


def _minutes(scope: Scope) -> str:
    return counted(round(scope.late_after.total_seconds() / 60), "minute", "minutes")


def paused_by_mismatch(scope: Scope) -> Iterator[Finding]:
    remedy = (
        "Its journal was written by another version of its functions or of pydantic-monty: run "
        "workers of that version and resume it, or terminate it and start it again."
    )
    for execution_id, why in _paused_by(scope, "ReplayMismatch"):
        message = f"It is paused, with nothing lost. {why} {remedy}"
        yield Finding("replay-mismatch", "error", message, execution_id)


def paused_by_faults(scope: Scope) -> Iterator[Finding]:
    remedy = (
        "This is a fault of durable_monty or of its installation, not of the workflow. The "
        "workers' logs have its traceback ('turn failed'). Resume it when the fault is mended."
    )
    for execution_id, why in _paused_by(scope, "HostFault"):
        message = f"It is paused, with nothing lost. {why}. {remedy}"
        yield Finding("host-fault", "error", message, execution_id)


def _paused_by(scope: Scope, error_type: str) -> QuerySet[Any, tuple[uuid.UUID, str]]:
    paused = scope.executions().filter(status=ExecutionStatus.PAUSED, error_type=error_type)
    return scope.cut(paused.order_by("pk").values_list("pk", "error_message"))


def failing_turns(scope: Scope) -> Iterator[Finding]:
    # A single failure passes mostly by itself: a sandbox was killed, and the turn runs again.
    failing = scope.executions().active().filter(faults__gte=2).order_by("pk")
    for execution_id, turn, faults in scope.cut(failing.values_list("pk", "turn", "faults")):
        yield Finding(
            "failing-turn",
            "warning",
            f"Turn {turn + 1} could not be run {faults} times; after {MAX_FAULTS} it fails or is "
            "paused. The workers' logs say why ('execution could not be advanced').",
            execution_id,
        )


def claimed_by_stopped(scope: Scope) -> Iterator[Finding]:
    # A worker that ends in order gives its claims back: this one was cut off.
    claimed = Q(due_at__gt=scope.now, claim__isnull=False, worker__stopped_at__isnull=False)
    executions = scope.executions().active().filter(claimed).select_related("worker")
    for execution in scope.cut(executions.order_by("pk")):
        work = f"Turn {execution.turn + 1}"
        yield _claimed(scope, execution, work, execution.pk, None)
    calls = scope.calls().open().filter(claimed, status=CallStatus.SUBMITTED)
    for call in scope.cut(calls.select_related("worker").order_by("pk")):
        yield _claimed(scope, call, f"{call.function}()", call.execution_id, call.call_id)


def _claimed(
    scope: Scope, row: Any, work: str, execution_id: uuid.UUID, call_id: int | None
) -> Finding:
    return Finding(
        "stopped-worker",
        "warning",
        f"{work} is held until {scope.when(row.due_at)} by worker {row.worker}, which has "
        "stopped. Let another have it at once (--fix), or wait.",
        execution_id,
        call_id,
        fixable=True,
    )


def claimed_by_silent(scope: Scope) -> Iterator[Finding]:
    silent = Q(
        due_at__gt=scope.now,
        claim__isnull=False,
        worker__stopped_at=None,
        worker__heartbeat_at__lte=scope.now - DEAD_AFTER,
    )
    # One finding for each worker, which may have hundreds of claims: their leases will run out.
    turns = _by_worker(scope.executions().active().filter(silent))
    calls = _by_worker(scope.calls().open().filter(silent, status=CallStatus.SUBMITTED))
    workers = WorkerProcess.objects.using(scope.using).in_bulk(turns.keys() | calls.keys())
    for pk, worker in sorted(workers.items()):
        claims = [found[pk] for found in (turns, calls) if pk in found]
        yield Finding(
            "silent-worker",
            "warning",
            f"The heartbeat of worker {worker} stopped at {scope.when(worker.heartbeat_at)}, and "
            f"it still holds {counted(turns.get(pk, (0,))[0], 'turn', 'turns')} and "
            f"{counted(calls.get(pk, (0,))[0], 'call', 'calls')}. They come back by themselves "
            f"until {scope.when(max(until for _count, until in claims))}. See why it ended; if it "
            "only hangs, stop it.",
            scope.execution_id,
        )


def _by_worker(claimed: QuerySet[Any]) -> dict[int, tuple[int, datetime]]:
    """Returns how many rows each worker has claimed, and when the last claim runs out."""
    groups = claimed.order_by("worker_id").values_list("worker_id")
    return {pk: (n, until) for pk, n, until in groups.annotate(Count("pk"), Max("due_at"))}


def occupied_threads(scope: Scope) -> Iterator[Finding]:
    # Python cannot end a thread: only a new process has all of its threads again.
    alive = WorkerProcess.objects.using(scope.using).alive(scope.now)
    for worker in scope.cut(alive.exclude(stuck_json="{}").order_by("pk")):
        occupied = OccupiedThreads.of(worker)
        calls, is_all = occupied.calls, occupied.are_all_occupied
        named = [call for call in calls if scope.execution_id in {None, call.execution_id}]
        if named:
            share = "every thread" if is_all else f"{len(calls)} of {occupied.threads} threads"
            yield Finding(
                "stuck-worker",
                "error" if is_all else "warning",
                f"{counted(len(calls), 'call occupies', 'calls occupy')} {share} of worker "
                f"{worker}, although nobody waits for {'it' if len(calls) == 1 else 'them'} any "
                f"more: {', '.join(map(str, named[:_NAMED]))}. Restart it, and let these "
                "functions end by themselves: with a time-out of what they call, or "
                "check_cancelled().",
                scope.execution_id,
            )


LATENESS: Sequence[Check] = (
    no_worker,
    late_executions,
    late_timers,
    late_calls,
    late_deadlines,
    paused_by_mismatch,
    paused_by_faults,
    failing_turns,
    claimed_by_stopped,
    claimed_by_silent,
    occupied_threads,
)
