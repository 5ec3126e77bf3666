"""Filters of the list of calls."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from durable_monty.admin.filters import PERSON, Choices, NameFilter
from durable_monty.kinds import ENGINE
from durable_monty.models import CallStatus
from durable_monty.models.call import CallQuerySet
from durable_monty.models.clock import database_now
from durable_monty.reads import lists

WORKER, SLEEPING = "worker", "sleep"
WAITING = (PERSON, WORKER, SLEEPING)


class WaitingFilter(admin.SimpleListFilter):
    title = _("waiting for")
    parameter_name = "waiting"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
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


class CallStatusFilter(admin.SimpleListFilter):
    # Django's own filter does not use the partial indexes of the open calls. The name is that of
    # Django's, so that both have the same URLs.
    title = _("status")
    parameter_name = "status__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return CallStatus.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        status = self.value()
        if status is None:
            return queryset
        return lists.with_status(cast("CallQuerySet", queryset), status)


class WorkflowFilter(NameFilter):
    title = _("workflow")
    parameter_name = "workflow"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        name = self.value()
        return queryset if name is None else queryset.filter(execution__name=name)


class AgeFilter(admin.SimpleListFilter):
    """Filters by age. With `waiting=person` an index has this order."""

    title = _("when it was called")
    parameter_name = "asked"
    _ages = {
        "hour": (timedelta(hours=1), _("More than an hour ago")),
        "day": (timedelta(days=1), _("More than a day ago")),
        "week": (timedelta(days=7), _("More than a week ago")),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(name, label) for name, (_span, label) in self._ages.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if (found := self._ages.get(self.value() or "")) is None:
            return queryset
        return queryset.filter(created_at__lt=database_now(queryset.db) - found[0])


class ExecutionFilter(admin.SimpleListFilter):
    """Is seen only on the way from an execution to its calls, where the URL has its id."""

    title = _("execution")
    parameter_name = "execution"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(value, value[:18]) for value in request.GET.getlist(self.parameter_name) if value]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        try:
            return queryset.filter(execution=uuid.UUID(self.value() or ""))
        # A broken id in the URL is a list without rows, not an error page.
        except ValueError:
            return queryset.none()
