"""Filters whose choices cost no query that grows with the tables."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.kinds import ENGINE, TIMER
from durable_monty.models import CallStatus, Execution, WorkerProcess, clock
from durable_monty.models.call import CallQuerySet
from durable_monty.models.execution import ExecutionQuerySet
from durable_monty.reads import lists

_Choices = Iterable[tuple[str, Any]]

# So many values are offered, of so many executions, the newest first.
_OFFERED = 20
_NEWEST = 1_000

WAITING = PERSON, WORKER, SLEEPING = "person", "worker", "sleep"
STUCK, FAILED = "stuck", "failed"


class AttentionFilter(admin.SimpleListFilter):
    title = _("what needs attention (at most 1,000)")
    parameter_name = "attention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        return [
            (STUCK, _("Stuck")),
            (PERSON, _("Waiting for a person")),
            (FAILED, _("Failed, not handled")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Execution]) -> QuerySet[Execution]:
        now = timezone.now() + clock.offset  # not asked for: some seconds do not matter here
        match self.value():
            case "stuck":
                return lists.stuck(queryset, now)
            case "person":
                return lists.waiting_for_people(queryset)
            case "failed":
                return cast("ExecutionQuerySet", queryset).failures()
            case _:
                return queryset


class WaitingFilter(admin.SimpleListFilter):
    title = _("what it waits for")
    parameter_name = "waiting"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        return [(PERSON, _("A person")), (WORKER, _("A worker")), (SLEEPING, _("A sleep"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        calls = cast("CallQuerySet", queryset)
        match self.value():
            case "person":
                return calls.waiting_for_people()
            case "worker":
                return lists.for_workers(calls)
            case "sleep":
                return calls.open().filter(executor=ENGINE)
            case _:
                return queryset


class FunctionFilter(admin.SimpleListFilter):
    """The functions that this process knows, and the one that is asked for."""

    title = _("function")
    parameter_name = "function"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        names = {*FUNCTION_REGISTRY, *TIMER.functions, *request.GET.getlist(self.parameter_name)}
        return [(name, name) for name in sorted(names)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        name = self.value()
        return queryset if name is None else queryset.filter(function=name)


class AwaitedFunctionFilter(FunctionFilter):
    title = _("function that it waits for (at most 1,000)")

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        name = self.value()
        return queryset if name is None else lists.waiting_for_function(queryset, name)


class CallStatusFilter(admin.SimpleListFilter):
    title = _("status")
    parameter_name = "status__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        return CallStatus.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        status = self.value()
        if status is None:
            return queryset
        return lists.with_status(cast("CallQuerySet", queryset), status)


class ExecutionFilter(admin.SimpleListFilter):
    """Seen only where it is in use: on the way from an execution to its calls."""

    title = _("execution")
    parameter_name = "execution"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        return [(value, value[:18]) for value in request.GET.getlist(self.parameter_name) if value]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        try:
            return queryset.filter(execution=uuid.UUID(self.value() or ""))
        except ValueError:
            return queryset.none()


class NewestFilter(admin.SimpleListFilter):
    """Offers what the newest executions have in `column`, and the value that is asked for."""

    parameter_name: str
    column: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        asked = request.GET.getlist(self.parameter_name)
        newest = (row[self.column] for row in _newest(request))
        found = list(dict.fromkeys(value for value in (*asked, *newest) if self.is_offered(value)))
        return [(value, value or _("(no name)")) for value in sorted(found[:_OFFERED])]

    def is_offered(self, value: str) -> bool:
        return True


class NameFilter(NewestFilter):
    title = _("name")
    parameter_name = column = "name"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(name=self.value())


class ErrorFilter(NewestFilter):
    title = _("error")
    parameter_name = "error"
    column = "error_type"

    def is_offered(self, value: str) -> bool:
        return value != ""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        error = self.value()
        return queryset if error is None else lists.with_error(queryset, error)


class CreatedFilter(admin.SimpleListFilter):
    """By the time in the key, which has an index."""

    title = _("created")
    parameter_name = "created"
    _spans = {
        "hour": timedelta(hours=1),
        "day": timedelta(days=1),
        "week": timedelta(days=7),
        "month": timedelta(days=30),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        return [
            ("hour", _("In the last hour")),
            ("day", _("In the last 24 hours")),
            ("week", _("In the last 7 days")),
            ("month", _("In the last 30 days")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        span = self._spans.get(self.value() or "")
        if span is None:
            return queryset
        # Keys carry the time of the process that made them.
        milliseconds = int((timezone.now() - span).timestamp() * 1000)
        return queryset.filter(pk__gte=uuid.UUID(int=milliseconds << 80))


class AliveFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        return [("alive", _("Alive")), ("gone", _("Stopped or not responding"))]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[WorkerProcess]
    ) -> QuerySet[WorkerProcess]:
        if self.value() is None:
            return queryset
        alive = WorkerProcess.objects.alive(clock.database_now(queryset.db))
        if self.value() == "alive":
            return queryset.filter(pk__in=alive)
        return queryset.exclude(pk__in=alive)


def _newest(request: HttpRequest) -> Sequence[dict[str, str]]:
    """Read once for the filters of a page; what asks much anyhow is spared the query."""
    if SEARCH_VAR in request.GET or AttentionFilter.parameter_name in request.GET:
        return ()
    if not hasattr(request, "durable_newest"):
        newest = Execution.objects.order_by("-pk").values("name", "error_type")
        request.durable_newest = list(newest[:_NEWEST])  # type: ignore[attr-defined]
    found: list[dict[str, str]] = request.durable_newest  # type: ignore[attr-defined]
    return found
