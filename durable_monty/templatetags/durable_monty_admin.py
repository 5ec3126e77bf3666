"""Tags of the dashboard: a template of the app's index page works with every AdminSite."""

from __future__ import annotations

from datetime import datetime, timedelta

from django import template
from django.template.context import Context
from django.utils.formats import number_format
from django.utils.safestring import SafeString

from durable_monty.admin.dashboard.data import Dashboard, read_dashboard, viewable_models
from durable_monty.admin.formats import badge, moment
from durable_monty.models import Call
from durable_monty.reads.queues import Queue
from durable_monty.wording.calls import obstacle_text, waits_for
from durable_monty.wording.times import span

register = template.Library()


@register.simple_tag(takes_context=True)
def durable_dashboard(context: Context) -> Dashboard | None:
    """Returns the parts for the models in the context's `app_list`."""
    return read_dashboard(context["request"], viewable_models(context["app_list"]))


@register.simple_tag
def state_badge(state: str, label: str) -> SafeString:
    return badge(state, label)


@register.simple_tag
def moment_ago(value: datetime, now: datetime) -> SafeString | str:
    return moment(value, now)


@register.simple_tag
def call_waits_for(call: Call, dashboard: Dashboard) -> str:
    return waits_for(call, dashboard.fleet, dashboard.now)


@register.simple_tag
def queue_obstacle(queue: Queue, dashboard: Dashboard) -> str:
    return obstacle_text(queue, dashboard.fleet)


@register.filter
def figure(value: int) -> str:
    return number_format(value, force_grouping=True)


@register.filter
def duration(value: timedelta | None) -> str:
    return "-" if value is None else span(value)
