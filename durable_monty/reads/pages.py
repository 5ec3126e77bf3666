"""Pages of executions and calls. A page costs the same wherever it begins."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet
from django.db.models.functions import Coalesce, Length

from durable_monty.models import Call, Execution
from durable_monty.models.call import CallQuerySet

# Characters of the arguments and results in a page of calls: they are in memory together.
MOST_VALUES = 4 * 2**20
# Calls that are shown with their execution.
FIRST_CALLS = 50
_LATEST = 2**48 - 1  # milliseconds, in an id
_ROW = (
    *"name label version__number key status error_type error_message turn call_count".split(),
    *"created_at started_at finished_at".split(),
)


@dataclass(frozen=True, slots=True)
class ExecutionQuery:
    """The executions to list: created at `since` or later, and before `until`."""

    status: str | None = None
    name: str | None = None
    key: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def read_executions_page(
    wanted: ExecutionQuery, after: uuid.UUID | None, limit: int, using: str
) -> tuple[list[Execution], bool]:
    """Returns the executions after this id, newest first, and whether there are more."""
    executions = Execution.objects.using(using).select_related("version")
    rows: QuerySet[Execution] = executions.order_by("-pk").only(*_ROW)
    exact = {"status": wanted.status, "name": wanted.name, "key": wanted.key}
    rows = rows.filter(**{name: value for name, value in exact.items() if value is not None})
    # An id begins with the time of its start, and an index has the ids in their order.
    if wanted.since is not None:
        rows = rows.filter(pk__gte=_first_id(wanted.since))
    if wanted.until is not None:
        rows = rows.filter(pk__lt=_first_id(wanted.until))
    if after is not None:
        rows = rows.filter(pk__lt=after)
    found = list(rows[: limit + 1])
    return found[:limit], len(found) > limit


def read_calls_page(calls: CallQuerySet, after: int | None, limit: int) -> tuple[list[Call], bool]:
    """Returns the calls of one execution after this number, and whether there are more."""
    if after is not None:
        calls = calls.filter(call_id__gt=after)
    size = Length("args") + Length("kwargs") + Coalesce(Length("result"), 0)
    sizes = calls.order_by("call_id").annotate(size=size).values_list("pk", "size")
    found = list(sizes[: limit + 1])
    pks: list[int] = []
    total = 0
    for pk, characters in found[:limit]:
        total += characters
        # One call may have more than a page may: it has a page of its own.
        if pks and total > MOST_VALUES:
            break
        pks.append(pk)
    rows = Call.objects.using(calls.db).filter(pk__in=pks).order_by("call_id")
    return list(rows.defer("error_traceback")) if pks else [], len(found) > len(pks)


def read_open_calls_page(execution_id: uuid.UUID, using: str) -> tuple[list[Call], bool]:
    calls = Call.objects.using(using).filter(execution_id=execution_id).open().functions()
    return read_calls_page(calls, None, FIRST_CALLS)


def _first_id(moment: datetime) -> uuid.UUID:
    """Returns the lowest id of that millisecond."""
    milliseconds = min(max(0, int(moment.timestamp() * 1_000)), _LATEST)
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | 0x2 << 62)
