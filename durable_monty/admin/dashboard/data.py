"""The data of the dashboard, as far as the user may see it."""

from __future__ import annotations

from collections.abc import Collection
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
    """`url`: the list that shows the problem; empty if the user may not see it."""

    severity: str
    message: str
    url: str


@dataclass(frozen=True, slots=True)
class StatusCount:
    """`query`: the query of the list that shows these executions."""

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

    @classmethod
    def read(cls, span: Period, now: datetime, using: str) -> Executions:
        statuses = []
        for status, count in dashboard.count_statuses(using).items():
            label, query = str(status.label), f"?status__exact={status}"
            if status == ExecutionStatus.FAILED:
                # Failures that somebody has handled are no work for anybody.
                label, query = gettext("Failed, not handled"), "?attention=failed"
            statuses.append(StatusCount(status.value, label, count, query))
        recent = read_recent(span, now, using)
        return cls(
            tuple(statuses),
            recent,
            chart(recent.throughput, span),
            dashboard.find_longest_due(now, using),
            dashboard.find_longest_waiting(using),
        )


@dataclass(frozen=True, slots=True)
class Calls:
    for_people: dashboard.PendingCalls
    for_workers: dashboard.PendingCalls
    queues: Queues

    @classmethod
    def read(cls, queues: Queues, using: str) -> Calls:
        for_people = dashboard.read_calls_for_people(using)
        return cls(for_people, dashboard.read_calls_for_workers(queues, using), queues)


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A part that the user may not see is None."""

    now: datetime
    fleet: Fleet
    span: Period
    spans: tuple[Period, ...]
    findings: tuple[Alert, ...]
    executions: Executions | None
    calls: Calls | None
    workers: tuple[dashboard.WorkerRow, ...] | None
    sizes: tuple[TableSize, ...]


def read_dashboard(
    request: HttpRequest, viewable: Collection[type[models.Model]]
) -> Dashboard | None:
    """Returns the parts for the models in `viewable`; None without the permission."""
    if not request.user.has_perm(PERMISSION):
        return None
    using = router.db_for_read(Execution)
    now = database_now(using)
    span = PERIODS.get(request.GET.get("span", ""), PERIODS["hour"])
    fleet = read_fleet(now, using)
    queues = read_queues(fleet, now, using)
    workers = dashboard.read_workers(queues.load, now, using)
    findings = []
    for notice in find_notices(Situation(queues, workers, fleet, now, using)):
        url = ""
        if notice.list is not None and notice.list in viewable:
            options = notice.list._meta
            url = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
            url += notice.query
        findings.append(Alert(notice.severity, notice.message, url))
    return Dashboard(
        now=now,
        fleet=fleet,
        span=span,
        spans=tuple(PERIODS.values()),
        findings=tuple(findings),
        # A part that the user may not see costs no queries.
        executions=Executions.read(span, now, using) if Execution in viewable else None,
        calls=Calls.read(queues, using) if Call in viewable else None,
        # All workers are read above, because notices name them.
        workers=workers if WorkerProcess in viewable else None,
        sizes=read_sizes(using),
    )


def viewable_models(app_list: list[dict[str, Any]]) -> set[type[models.Model]]:
    """Returns the models that the site shows to the user, by its own rules."""
    return {
        entry["model"]
        for app in app_list
        for entry in app["models"]
        if entry["perms"].get("view") or entry["perms"].get("change")
    }
