"""Filters of the list of calls."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from durable_monty.admin.filters import PERSON, AgeFilter, Choices, NameFilter, ValueFilter
from durable_monty.kinds import ENGINE
from durable_monty.models import CallStatus
from durable_monty.models.call import CallQuerySet
from durable_monty.models.clock import database_now
from durable_monty.reads import lists

WORKER, SLEEPING = "worker", "sleep"
WAITING = (PERSON, WORKER, SLEEPING)


class WaitingFilter(ValueFilter):
    title = _("kind of wait")
    parameter_name = "waiting"
    options = [(PERSON, _("A person")), (WORKER, _("A worker")), (SLEEPING, _("A sleep"))]

    def find(self, rows: CallQuerySet, value: str) -> Any:
        match value:
            case "person":
                return rows.waiting_for_people()
            case "worker":
                return lists.for_workers(rows)
            case "sleep":
                return rows.open().filter(executor=ENGINE)
            case _:
                return rows


class CallStatusFilter(ValueFilter):
    # Django's own filter does not use the partial indexes of the open calls. The name is that of
    # Django's, so that both have the same URLs.
    title = _("status")
    parameter_name = "status__exact"
    options = CallStatus.choices

    def find(self, rows: CallQuerySet, value: str) -> Any:
        return lists.with_status(rows, value)


class WorkflowFilter(NameFilter):
    title = _("workflow")
    parameter_name = "workflow"

    def find(self, rows: Any, value: str) -> Any:
        return rows.filter(execution__name=value)


class CallAgeFilter(AgeFilter):
    title = _("when it was called")
    parameter_name = "asked"
    spans = {
        "hour": (timedelta(hours=1), _("More than an hour ago")),
        "day": (timedelta(days=1), _("More than a day ago")),
        "week": (timedelta(days=7), _("More than a week ago")),
    }

    def find_span(self, rows: Any, span: timedelta) -> Any:
        # With `waiting=person` an index has this order.
        return rows.filter(created_at__lt=database_now(rows.db) - span)


class ExecutionFilter(ValueFilter):
    """Is seen only on the way from an execution to its calls, where the URL has its id."""

    title = _("execution")
    parameter_name = "execution"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(value, value[:18]) for value in request.GET.getlist(self.parameter_name) if value]

    def find(self, rows: Any, value: str) -> Any:
        try:
            return rows.filter(execution=uuid.UUID(value))
        # A broken id in the URL is a list without rows, not an error page.
        except ValueError:
            return rows.none()
