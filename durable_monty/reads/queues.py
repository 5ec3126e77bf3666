"""The open calls that workers run, by function and executor."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from durable_monty.models import Call
from durable_monty.reads.call_state import CallState, call_state
from durable_monty.reads.fleet import Fleet, Obstacle
from durable_monty.reads.lists import worker_executors

# An index has the calls of an executor by age. A queue may be long, and its end tells no more.
_OLDEST = 2_000
_WITH_WORKER = (CallState.CLAIMED, CallState.RUNNING)
_RUNNING = (CallState.RUNNING, CallState.ACCEPTED)
_LATER = (CallState.RETRYING, CallState.NEVER_DUE)


@dataclass(frozen=True, slots=True)
class Queue:
    """The open calls of one function; `since` is when the longest overdue one became due."""

    function: str
    executor: str
    queued: int
    running: int
    later: int
    since: datetime | None
    obstacle: Obstacle | None


@dataclass(frozen=True, slots=True)
class Queues:
    """The queues, longest first, and the keys of their calls, oldest first.

    `load` is the number of calls with each worker. `capped`: not all calls were read.
    """

    functions: tuple[Queue, ...]
    capped: bool
    oldest: tuple[int, ...]
    load: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class _Row:
    pk: int
    kind: str
    function: str
    executor: str
    status: str
    due_at: datetime | None
    job_id: str
    created_at: datetime
    started_at: datetime | None
    worker_id: int | None


def read_queues(fleet: Fleet, now: datetime, using: str) -> Queues:
    rows: list[_Row] = []
    capped = False
    for executor in worker_executors(using):
        calls = Call.objects.using(using).open().functions().filter(executor=executor)
        oldest = calls.order_by("created_at").values_list(*_Row.__slots__)[: _OLDEST + 1]
        found = [_Row(*facts) for facts in oldest]
        capped = capped or len(found) > _OLDEST
        rows += found[:_OLDEST]
    rows.sort(key=lambda row: (row.created_at, row.pk))
    groups: dict[tuple[str, str], list[_Row]] = defaultdict(list)
    for row in rows:
        groups[row.function, row.executor].append(row)
    queues = [_queue(group, fleet, now) for group in groups.values()]
    queues.sort(key=lambda queue: (-queue.queued, -queue.running, queue.function))
    load = Counter(
        row.worker_id for row in rows if row.worker_id and call_state(row, now) in _WITH_WORKER
    )
    return Queues(tuple(queues), capped, tuple(row.pk for row in rows), load)


def _queue(rows: Sequence[_Row], fleet: Fleet, now: datetime) -> Queue:
    function, executor = rows[0].function, rows[0].executor
    states = Counter(call_state(row, now) for row in rows)
    running = sum(states[state] for state in _RUNNING)
    later = sum(states[state] for state in _LATER)
    # A job that no worker asks about is overdue too, although it runs.
    due = (row.due_at for row in rows if row.due_at is not None and row.due_at <= now)
    return Queue(
        function,
        executor,
        queued=len(rows) - running - later,
        running=running,
        later=later,
        since=min(due, default=None),
        obstacle=fleet.obstacle(function, executor),
    )
