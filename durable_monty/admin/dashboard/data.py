"""What the app's page in the admin shows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models, router
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext

from durable_monty.admin.dashboard.chart import Chart, chart
from durable_monty.doctor.attention import Situation, find_notices
from durable_monty.models import Call, Execution, ExecutionStatus, WorkerProcess
from durable_monty.models.clock import database_now
from durable_monty.reads import dashboard
from durable_monty.reads.finished import PERIODS, Period, Recent, read_recent
from durable_monty.reads.fleet import Fleet, read_fleet
from durable_monty.reads.queues import Queues, read_queues
from durable_monty.reads.storage import TableSize, read_sizes

PERMISSION = "durable_monty.view_dashboard"


@dataclass(frozen=True, slots=True)
class Alert:
    """`url`: the list that shows it, if there is one and the user may see it."""

    severity: str
    message: str
    url: str


@dataclass(frozen=True, slots=True)
class StatusCount:
    """`query`: that of the list which shows these executions."""

    status: str
    label: str
    count: dashboard.Count
    query: str


@dataclass(frozen=True, slots=True)
class Executions:
    statuses: tuple[StatusCount, ...]
    recent: Recent
    chart: Chart
    due: dashboard.LongestWait | None
    waiting: dashboard.LongestWait | None


@dataclass(frozen=True, slots=True)
class Calls:
    for_people: dashboard.PendingCalls
    for_workers: dashboard.PendingCalls
    queues: Queues


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The parts that the user may see; the others are None."""

    now: datetime
    fleet: Fleet
    span: Period
    spans: tuple[Period, ...]
    findings: tuple[Alert, ...]
    executions: Executions | None
    calls: Calls | None
    workers: tuple[dashboard.WorkerRow, ...] | None
    sizes: tuple[TableSize, ...]


def read(request: HttpRequest, viewable: Collection[type[models.Model]]) -> Dashboard | None:
    """`viewable`: the models that the site shows to this user."""
    if not request.user.has_perm(PERMISSION):
        return None
    using = router.db_for_read(Execution)
    now = database_now(using)
    span = PERIODS.get(request.GET.get("span", ""), PERIODS["hour"])
    fleet = read_fleet(now, using)
    queues = read_queues(fleet, now, using)
    workers = dashboard.read_workers(queues.load, now, using)
    return Dashboard(
        now=now,
        fleet=fleet,
        span=span,
        spans=tuple(PERIODS.values()),
        findings=tuple(
            Alert(found.severity, found.message, _list_url(found.list, found.query, viewable))
            for found in find_notices(Situation(queues, workers, fleet, now, using))
        ),
        executions=_executions(span, now, using) if Execution in viewable else None,
        calls=Calls(
            dashboard.read_calls_for_people(using),
            dashboard.read_calls_for_workers(queues, using),
            queues,
        )
        if Call in viewable
        else None,
        workers=workers if WorkerProcess in viewable else None,
        sizes=read_sizes(using),
    )


def viewable_models(app_list: list[dict[str, Any]]) -> set[type[models.Model]]:
    """Read from what the site made for this user, so that each site's own rules hold."""
    return {
        entry["model"]
        for app in app_list
        for entry in app["models"]
        if entry["perms"].get("view") or entry["perms"].get("change")
    }


def _list_url(
    model: type[models.Model] | None, query: str, viewable: Collection[type[models.Model]]
) -> str:
    if model is None or model not in viewable:
        return ""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist") + query


def _executions(span: Period, now: datetime, using: str) -> Executions:
    ended = read_recent(span, now, using)
    return Executions(
        tuple(_status_counts(using)),
        ended,
        chart(ended.throughput, span),
        dashboard.find_longest_due(now, using),
        dashboard.find_longest_waiting(using),
    )


def _status_counts(using: str) -> Iterator[StatusCount]:
    for status, count in dashboard.count_statuses(using).items():
        if status == ExecutionStatus.FAILED:
            label, query = gettext("Failed, not handled"), "?attention=failed"
        else:
            label, query = str(status.label), f"?status__exact={status}"
        yield StatusCount(status.value, label, count, query)
