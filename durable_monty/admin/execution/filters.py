"""Filters of the list of executions."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any, cast

from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from durable_monty.admin.filters import (
    ATTENTION,
    PERSON,
    AgeFilter,
    FunctionFilter,
    NewestFilter,
    ValueFilter,
)
from durable_monty.models import clock
from durable_monty.models.execution import ExecutionQuerySet
from durable_monty.reads import lists

STUCK, FAILED = "stuck", "failed"


class AttentionFilter(ValueFilter):
    title = _("need for attention (first 1,000)")
    parameter_name = ATTENTION
    options = [
        (STUCK, _("Stuck")),
        (PERSON, _("Waiting for a person")),
        (FAILED, _("Failed, not handled")),
    ]

    def find(self, rows: Any, value: str) -> Any:
        match value:
            case "stuck":
                # This process's clock saves a query: some seconds do not matter here.
                return lists.stuck(rows, timezone.now() + clock.offset)
            case "person":
                return lists.waiting_for_people(rows)
            case "failed":
                return cast("ExecutionQuerySet", rows).failures()
            case _:
                return rows


class AwaitedFunctionFilter(FunctionFilter):
    title = _("awaited function (first 1,000)")

    def find(self, rows: Any, value: str) -> Any:
        return lists.waiting_for_function(rows, value)


class ErrorFilter(NewestFilter):
    title = _("error")
    parameter_name = "error"
    column = "error_type"

    def is_offered(self, value: str) -> bool:
        return value != ""

    def find(self, rows: Any, value: str) -> Any:
        return lists.with_error(rows, value)


class CreatedFilter(AgeFilter):
    title = _("created")
    parameter_name = "created"
    spans = {
        "hour": (timedelta(hours=1), _("In the last hour")),
        "day": (timedelta(days=1), _("In the last 24 hours")),
        "week": (timedelta(days=7), _("In the last 7 days")),
        "month": (timedelta(days=30), _("In the last 30 days")),
    }

    def find_span(self, rows: Any, span: timedelta) -> Any:
        # The key has an index. It carries the time of the process that made it, which is not the
        # database's.
        milliseconds = int((timezone.now() - span).timestamp() * 1000)
        return rows.filter(pk__gte=uuid.UUID(int=milliseconds << 80))
