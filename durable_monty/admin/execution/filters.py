"""Filters of the list of executions."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from durable_monty.admin.filters import (
    ATTENTION,
    PERSON,
    Choices,
    FunctionFilter,
    NewestFilter,
)
from durable_monty.models import Execution, clock
from durable_monty.models.execution import ExecutionQuerySet
from durable_monty.reads import lists

STUCK, FAILED = "stuck", "failed"


class AttentionFilter(admin.SimpleListFilter):
    title = _("needs attention (first 1,000)")
    parameter_name = ATTENTION

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [
            (STUCK, _("Stuck")),
            (PERSON, _("Waiting for a person")),
            (FAILED, _("Failed, not handled")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Execution]) -> QuerySet[Execution]:
        match self.value():
            case "stuck":
                # This process's clock saves a query: some seconds do not matter here.
                return lists.stuck(queryset, timezone.now() + clock.offset)
            case "person":
                return lists.waiting_for_people(queryset)
            case "failed":
                return cast("ExecutionQuerySet", queryset).failures()
            case _:
                return queryset


class AwaitedFunctionFilter(FunctionFilter):
    title = _("awaited function (first 1,000)")

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        name = self.value()
        return queryset if name is None else lists.waiting_for_function(queryset, name)


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
    """Filters by the time in the key, which has an index."""

    title = _("created")
    parameter_name = "created"
    _spans = {
        "hour": (timedelta(hours=1), _("In the last hour")),
        "day": (timedelta(days=1), _("In the last 24 hours")),
        "week": (timedelta(days=7), _("In the last 7 days")),
        "month": (timedelta(days=30), _("In the last 30 days")),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(name, label) for name, (_span, label) in self._spans.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if (found := self._spans.get(self.value() or "")) is None:
            return queryset
        # Keys carry the time of the process that made them, not the database's.
        milliseconds = int((timezone.now() - found[0]).timestamp() * 1000)
        return queryset.filter(pk__gte=uuid.UUID(int=milliseconds << 80))
