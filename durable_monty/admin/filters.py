"""Filters whose choices cost no query that grows with the tables."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from durable_monty.functions import FUNCTION_REGISTRY, MANUAL_EXECUTOR
from durable_monty.models import Call, Execution, WorkerProcess
from durable_monty.models.call import ENGINE, CallQuerySet
from durable_monty.models.clock import database_now

_Choices = Iterable[tuple[str, Any]]

# So many names are offered, of so many executions, the newest first.
_NAMES = 20
_NAMES_FROM = 1_000

PERSON, WORKER, SLEEP = "person", "worker", "sleep"


class WaitingFilter(admin.SimpleListFilter):
    title = _("what it waits for")
    parameter_name = "waiting"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        return [(PERSON, _("A person")), (WORKER, _("A worker")), (SLEEP, _("A sleep"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        calls = cast("CallQuerySet", queryset)
        match self.value():
            case "person":
                return calls.waiting_for_people()
            case "worker":
                return calls.open().functions().exclude(executor=MANUAL_EXECUTOR)
            case "sleep":
                return calls.open().filter(executor=ENGINE)
            case _:
                return queryset


class FunctionFilter(admin.SimpleListFilter):
    """The functions that this process knows, and the one that is asked for."""

    title = _("function")
    parameter_name = "function"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        names = {*FUNCTION_REGISTRY, *request.GET.getlist(self.parameter_name)}
        return [(name, name) for name in sorted(names)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Call]) -> QuerySet[Call]:
        return queryset if self.value() is None else queryset.filter(function=self.value())


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


class NameFilter(admin.SimpleListFilter):
    title = _("name")
    parameter_name = "name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        newest = Execution.objects.order_by("-pk").values_list("name", flat=True)[:_NAMES_FROM]
        names = list(dict.fromkeys([*request.GET.getlist(self.parameter_name), *newest]))
        return [(name, name or _("(no name)")) for name in sorted(names[:_NAMES])]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(name=self.value())


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
        return [("alive", _("Alive")), ("gone", _("Stopped or silent"))]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[WorkerProcess]
    ) -> QuerySet[WorkerProcess]:
        if self.value() is None:
            return queryset
        alive = WorkerProcess.objects.alive(database_now(queryset.db))
        if self.value() == "alive":
            return queryset.filter(pk__in=alive)
        return queryset.exclude(pk__in=alive)
