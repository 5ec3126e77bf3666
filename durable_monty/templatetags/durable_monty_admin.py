"""What the app's page in the admin shows, without another AdminSite."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import template
from django.db import models, router
from django.template.context import Context
from django.utils.safestring import SafeString

from durable_monty.admin.formats import badge, moment
from durable_monty.models import Call, Execution, WorkerProcess
from durable_monty.models.clock import database_now
from durable_monty.reads import dashboard
from durable_monty.reads.waiting import fleet

register = template.Library()


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The parts that the user may see; the others are None."""

    now: datetime
    statuses: tuple[dashboard.StatusCount, ...] | None
    for_people: dashboard.PendingCalls | None
    for_workers: dashboard.PendingCalls | None
    workers: tuple[dashboard.AliveWorker, ...] | None


@register.simple_tag(takes_context=True)
def durable_dashboard(context: Context) -> Dashboard:
    """Asks for what the models in the context's `app_list` allow."""
    using = router.db_for_read(Execution)
    now = database_now(using)
    viewable = _viewable(context["app_list"])
    calls = Call in viewable
    alive = fleet(now, using)
    return Dashboard(
        now=now,
        statuses=dashboard.status_counts(using) if Execution in viewable else None,
        for_people=dashboard.pending_for_people(alive, now, using) if calls else None,
        for_workers=dashboard.pending_for_workers(alive, now, using) if calls else None,
        workers=dashboard.alive_workers(now, using) if WorkerProcess in viewable else None,
    )


@register.simple_tag
def state_badge(state: str, label: str) -> SafeString:
    return badge(state, label)


@register.simple_tag
def moment_ago(value: datetime, now: datetime) -> SafeString | str:
    return moment(value, now)


def _viewable(app_list: list[dict[str, Any]]) -> set[type[models.Model]]:
    """Read from what the site made for this user, so that each site's own rules hold."""
    return {
        entry["model"]
        for app in app_list
        for entry in app["models"]
        if entry["perms"].get("view") or entry["perms"].get("change")
    }
