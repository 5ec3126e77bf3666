"""The findings of the doctor's checks, and the rows that a check reads."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from django.db.models import QuerySet

from durable_monty.models import Call, Execution
from durable_monty.models.call import CallQuerySet
from durable_monty.models.execution import ExecutionQuerySet
from durable_monty.reads.fleet import Fleet
from durable_monty.reads.lists import LATE_AFTER
from durable_monty.wording.times import stamp

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong. `message` says what, and what to do; `call` is a `call_id`."""

    check: str
    severity: Literal["error", "warning"]
    message: str
    execution: uuid.UUID | None = None
    call: int | None = None
    fixable: bool = False
    fixed: bool = False

    def __str__(self) -> str:
        place = "" if self.execution is None else f" {self.execution}"
        if self.call is not None:
            place += f" call {self.call}"
        state = "repaired" if self.fixed else self.severity
        return f"{state} [{self.check}]{place}: {self.message}"

    @property
    def identity(self) -> tuple[str, uuid.UUID | None, int | None]:
        return self.check, self.execution, self.call


@dataclass(frozen=True, slots=True)
class Scope:
    """The rows that the checks read: of one execution, or of all.

    `limit` is the number of findings of a check, and of executions whose journals are read; None
    means all. Work is late when it has been due for longer than `late_after`.
    """

    using: str
    now: datetime
    fleet: Fleet
    limit: int | None = None
    execution_id: uuid.UUID | None = None
    late_after: timedelta = LATE_AFTER

    def executions(self) -> ExecutionQuerySet:
        executions = Execution.objects.using(self.using)
        return executions if self.execution_id is None else executions.filter(pk=self.execution_id)

    def calls(self) -> CallQuerySet:
        calls = Call.objects.using(self.using)
        if self.execution_id is None:
            return calls
        return calls.filter(execution_id=self.execution_id)

    def journals(self) -> ExecutionQuerySet:
        """Returns the executions whose journals are read: the newest unfinished ones, or the one
        that was chosen."""
        if self.execution_id is not None:
            return self.executions()
        unfinished = self.executions().unfinished()
        if self.limit is None:
            return unfinished
        # Not a sliced subquery, which MySQL refuses.
        oldest = unfinished.order_by("-pk").values_list("pk", flat=True)[self.limit - 1 :].first()
        return unfinished if oldest is None else unfinished.filter(pk__gte=oldest)

    def cut(self, rows: QuerySet[Any, Row]) -> QuerySet[Any, Row]:
        """Returns one row more than the limit, so that `run_checks` sees that there are more."""
        return rows if self.limit is None else rows[: self.limit + 1]

    def when(self, moment: datetime | None) -> str:
        return "never" if moment is None else stamp(moment, self.now)


Check = Callable[[Scope], Iterable[Finding]]


def run_checks(checks: Sequence[Check], scope: Scope) -> Iterator[Finding]:
    """Runs the checks and yields their findings, at most `scope.limit` of each."""
    for check in checks:
        found = list(check(scope))
        yield from found[: scope.limit]
        if scope.limit is not None and len(found) > scope.limit:
            yield Finding(
                found[0].check,
                found[0].severity,
                f"There are more of these than the {scope.limit} that are listed: run it again "
                "when they are repaired, or with a higher --limit (0 lists all).",
            )


def counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
