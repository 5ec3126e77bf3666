"""The open calls of workers, by function and by who runs them.

The oldest of each executor are looked at, which an index gives in this order: a queue may be
long, and what is at its end tells nothing more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from durable_monty.models import Call, CallStatus
from durable_monty.reads.fleet import Fleet
from durable_monty.reads.lists import worker_executors

_LOOKED_AT = 2_000


@dataclass(frozen=True, slots=True)
class Queue:
    """Open calls of one function. `later`: those that wait for a retry; `obstacle`: why no
    worker takes them; `since`: when the one that has been due longest became so."""

    function: str
    queued: int
    running: int
    later: int
    since: datetime | None
    obstacle: str


@dataclass(frozen=True, slots=True)
class Queues:
    """`capped`: there are more calls than were looked at. `oldest`: keys of calls, oldest first;
    `load`: how many calls each worker runs or holds."""

    functions: tuple[Queue, ...]
    capped: bool
    oldest: tuple[int, ...]
    load: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class _Row:
    pk: int
    function: str
    executor: str
    status: str
    due_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    worker_id: int | None

    def is_held(self, now: datetime) -> bool:
        """A worker has it, and its lease runs."""
        lasts = self.due_at is None or self.due_at > now
        return self.status == CallStatus.SUBMITTED and lasts


def read_queues(fleet: Fleet, now: datetime, using: str) -> Queues:
    rows: list[_Row] = []
    capped = False
    for executor in worker_executors(using):
        calls = Call.objects.using(using).open().functions().filter(executor=executor)
        oldest = calls.order_by("created_at").values_list(*_Row.__slots__)[: _LOOKED_AT + 1]
        found = [_Row(*facts) for facts in oldest]
        capped = capped or len(found) > _LOOKED_AT
        rows += found[:_LOOKED_AT]
    rows.sort(key=lambda row: (row.created_at, row.pk))
    load = Counter(row.worker_id for row in rows if row.worker_id and row.is_held(now))
    return Queues(_by_function(rows, fleet, now), capped, tuple(row.pk for row in rows), load)


def _by_function(rows: Sequence[_Row], fleet: Fleet, now: datetime) -> tuple[Queue, ...]:
    """The longest first."""
    groups: dict[tuple[str, str], list[_Row]] = defaultdict(list)
    for row in rows:
        groups[row.function, row.executor].append(row)
    found = [
        _queue(function, group, fleet.obstacle(function, executor), now)
        for (function, executor), group in groups.items()
    ]
    return tuple(sorted(found, key=lambda each: (-each.queued, -each.running, each.function)))


def _queue(function: str, rows: Sequence[_Row], obstacle: str, now: datetime) -> Queue:
    held = [row for row in rows if row.is_held(now)]
    due = [row.due_at for row in rows if row.due_at is not None and row.due_at <= now]
    return Queue(
        function,
        queued=len(due) + sum(row.started_at is None for row in held),
        running=sum(row.started_at is not None for row in held),
        later=len(rows) - len(held) - len(due),
        since=min(due, default=None),
        obstacle=obstacle,
    )
