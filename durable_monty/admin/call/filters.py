"""Filters of the calls that wait: by the workflow, and by how long they have waited."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from durable_monty.admin.filters import NameFilter
from durable_monty.models.clock import database_now

_AGES = {
    "hour": (timedelta(hours=1), _("More than an hour ago")),
    "day": (timedelta(days=1), _("More than a day ago")),
    "week": (timedelta(days=7), _("More than a week ago")),
}


class WorkflowFilter(NameFilter):
    title = _("workflow")
    parameter_name = "workflow"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        name = self.value()
        return queryset if name is None else queryset.filter(execution__name=name)


class AgeFilter(admin.SimpleListFilter):
    """When it was asked. With `waiting=person` an index has this order."""

    title = _("when it was asked")
    parameter_name = "asked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(name, label) for name, (_span, label) in _AGES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if (found := _AGES.get(self.value() or "")) is None:
            return queryset
        return queryset.filter(created_at__lt=database_now(queryset.db) - found[0])
