"""Filters of several lists. Their choices cost no query that grows with the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.kinds import TIMER
from durable_monty.models import Execution

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

Choices = Iterable[tuple[str, Any]]

ATTENTION = "attention"
PERSON = "person"

# A filter offers this many values, found among this many of the newest executions.
_OFFERED = 20
_NEWEST = 1_000


class ValueFilter(admin.SimpleListFilter):
    """Filters by a value, and not at all without one. `options`: the values with their labels."""

    options: Choices = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return self.options

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset if value is None else self.find(queryset, value)

    def find(self, rows: Any, value: str) -> Any:
        raise NotImplementedError


class AgeFilter(ValueFilter):
    """Filters by time: `spans` has a span of time and its label for each value."""

    spans: Mapping[str, tuple[timedelta, StrPromise]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(name, label) for name, (_span, label) in self.spans.items()]

    def find(self, rows: Any, value: str) -> Any:
        # A value that somebody made up in the URL filters nothing.
        return self.find_span(rows, self.spans[value][0]) if value in self.spans else rows

    def find_span(self, rows: Any, span: timedelta) -> Any:
        raise NotImplementedError


class FunctionFilter(ValueFilter):
    """Offers the functions that this process has, and the one in the URL."""

    title = _("function")
    parameter_name = "function"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        names = {*FUNCTION_REGISTRY, *TIMER.functions, *request.GET.getlist(self.parameter_name)}
        return [(name, name) for name in sorted(names)]

    def find(self, rows: Any, value: str) -> Any:
        return rows.filter(function=value)


class NewestFilter(ValueFilter):
    """Offers the values of `column` in the newest executions, and the one in the URL."""

    parameter_name: str
    column: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        values = request.GET.getlist(self.parameter_name)
        values += [row[self.column] for row in self.read_newest(request)]
        found = list(dict.fromkeys(value for value in values if self.is_offered(value)))
        return [(value, value or _("(no name)")) for value in sorted(found[:_OFFERED])]

    def read_newest(self, request: HttpRequest) -> list[dict[str, str]]:
        # A search and the filter for attention are slow enough without this query.
        if SEARCH_VAR in request.GET or ATTENTION in request.GET:
            return []
        # Read once for all such filters of a page.
        if not hasattr(request, "durable_newest"):
            newest = Execution.objects.order_by("-pk").values("name", "error_type")
            request.durable_newest = list(newest[:_NEWEST])  # type: ignore[attr-defined]
        found: list[dict[str, str]] = request.durable_newest  # type: ignore[attr-defined]
        return found

    def is_offered(self, value: str) -> bool:
        return True


class NameFilter(NewestFilter):
    title = _("name")
    parameter_name = column = "name"

    def find(self, rows: Any, value: str) -> Any:
        return rows.filter(name=value)
