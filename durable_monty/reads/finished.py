"""The executions that ended of late: how many at which time, their durations and failures."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Func, IntegerField
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from durable_monty.models import Execution, ExecutionStatus
from durable_monty.models.execution import FINISHED, ExecutionQuerySet
from durable_monty.reads.lists import failed_since

# An index has executions by status and end. Each query reads this many of its newest entries, and
# no more: the result says so if it is cut off.
_COUNTED = 50_000
_TIMED = 5_000
_FAILURES = 1_000


@dataclass(frozen=True, slots=True)
class Period:
    """How far back the dashboard looks, and in which steps."""

    name: str
    label: Promise
    step: timedelta
    steps: int


PERIODS = {
    period.name: period
    for period in (
        Period("hour", _("Hour"), timedelta(minutes=1), 60),
        Period("day", _("Day"), timedelta(minutes=30), 48),
        Period("week", _("Week"), timedelta(hours=3), 56),
    )
}


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many executions ended in one step of time, by status."""

    begins: datetime
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        return self.completed + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class Throughput:
    """The executions that ended, by time. Those that ended before `cut_at` were not counted."""

    buckets: tuple[Bucket, ...]
    cut_at: datetime | None

    @property
    def completed(self) -> int:
        return sum(bucket.completed for bucket in self.buckets)

    @property
    def failed(self) -> int:
        return sum(bucket.failed for bucket in self.buckets)

    @property
    def cancelled(self) -> int:
        return sum(bucket.cancelled for bucket in self.buckets)


@dataclass(frozen=True, slots=True)
class WorkflowFigures:
    """The executions of one name; the durations are those of the completed ones."""

    name: str
    completed: int
    failed: int
    p50: timedelta | None
    p95: timedelta | None


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """The executions that failed with one error and wait for someone, and the newest of them."""

    error_type: str
    count: int
    names: tuple[str, ...]
    last: datetime
    execution_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Recent:
    """The figures of one period; `timed_capped` and `failed_capped`: not all were read."""

    throughput: Throughput
    workflows: tuple[WorkflowFigures, ...]
    failures: tuple[FailureGroup, ...]
    timed_capped: bool
    failed_capped: bool


def read_recent(period: Period, now: datetime, using: str) -> Recent:
    step = int(period.step.total_seconds())
    # Whole steps, the last of which holds `now`: then a bar does not change while it is watched.
    since = datetime.fromtimestamp((int(now.timestamp()) // step - period.steps + 1) * step, UTC)
    executions = Execution.objects.using(using)
    ended = executions.filter(finished_at__gte=since)
    timed = _newest(ended, ExecutionStatus.COMPLETED, _TIMED, "name", "created_at", "finished_at")
    failed = _newest(ended, ExecutionStatus.FAILED, _FAILURES, "name")
    failures = _newest(
        failed_since(executions.all(), since),
        ExecutionStatus.FAILED,
        _FAILURES,
        "error_type",
        "name",
        "finished_at",
        "pk",
    )
    groups: dict[str, list[Any]] = defaultdict(list)
    for error_type, *facts in failures:
        groups[error_type].append(facts)
    failure_groups = [
        FailureGroup(error_type, len(rows), tuple({row[0]: None for row in rows}), *rows[0][1:])
        for error_type, rows in groups.items()
    ]
    failure_groups.sort(key=lambda group: (-group.count, group.error_type))
    return Recent(
        _throughput(period, since, using),
        _workflows(timed, [name for (name,) in failed]),
        tuple(failure_groups),
        len(timed) == _TIMED,
        len(failures) == _FAILURES,
    )


class _Steps(Func):
    """The number of whole steps since 1970."""

    # Grouped in the database: fetching 50,000 rows takes longer than counting them there.

    output_field = IntegerField()

    def __init__(self, moment: str, step: timedelta) -> None:
        super().__init__(moment, seconds=int(step.total_seconds()))

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "CAST(strftime('%%%%s', %(expressions)s) AS INTEGER) / %(seconds)s"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "floor(extract(epoch from %(expressions)s) / %(seconds)s)::bigint"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "timestampdiff(SECOND, '1970-01-01', %(expressions)s) DIV %(seconds)s"
        return self.as_sql(compiler, connection, template=template, **context)


def _throughput(period: Period, since: datetime, using: str) -> Throughput:
    executions = Execution.objects.using(using)
    cuts = [
        executions.filter(status=status, finished_at__gte=since)
        .order_by("-finished_at")
        .values_list("finished_at", flat=True)[_COUNTED : _COUNTED + 1]
        .first()
        for status in FINISHED
    ]
    cut_at = max((cut for cut in cuts if cut is not None), default=None)
    groups = (
        executions.filter(status__in=FINISHED, finished_at__gt=cut_at or since)
        .order_by()
        .values_list(_Steps("finished_at", period.step), "status")
        .annotate(count=Count("*"))  # of no column: the index is enough
    )
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    for step, status, count in groups:
        counts[step][status] = count
    first = int(since.timestamp()) // int(period.step.total_seconds())
    buckets = (
        Bucket(since + number * period.step, **counts[first + number])
        for number in range(period.steps)
    )
    return Throughput(tuple(buckets), cut_at)


def _newest(
    executions: ExecutionQuerySet, status: ExecutionStatus, limit: int, *columns: str
) -> list[Any]:
    rows = executions.filter(status=status).order_by("-finished_at")
    return list(rows.values_list(*columns)[:limit])


def _workflows(timed: Sequence[Any], failed: Iterable[str]) -> tuple[WorkflowFigures, ...]:
    """Returns the workflows, those that end most often first."""
    took: dict[str, list[timedelta]] = defaultdict(list)
    for name, created_at, finished_at in timed:
        took[name].append(finished_at - created_at)
    failures = Counter(failed)
    found = (
        WorkflowFigures(
            name,
            len(took[name]),
            failures[name],
            _percentile(took[name], 50),
            _percentile(took[name], 95),
        )
        for name in {*took, *failures}
    )
    return tuple(sorted(found, key=lambda each: (-each.completed - each.failed, each.name)))


def _percentile(values: Iterable[timedelta], percent: int) -> timedelta | None:
    """Returns the percentile by the nearest rank."""
    ordered = sorted(values)
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None
