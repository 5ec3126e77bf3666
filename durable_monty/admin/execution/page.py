"""The page of one execution: its sentence, calls, source and history, and their updates."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext

from durable_monty.admin.base import facts_of
from durable_monty.admin.execution.calls_table import CallsTable, Links, calls_table
from durable_monty.admin.execution.turns import turn_url
from durable_monty.admin.pages import Page, PagesAdmin
from durable_monty.admin.source.highlight import LineMap
from durable_monty.admin.source.lines import calls_by_line, mark_of, source_of
from durable_monty.models import Call, Execution, Program
from durable_monty.reads.history import find_manual_actions
from durable_monty.reads.timeline import Place, count_places, read_timeline
from durable_monty.wording.executions import status_text


class LivePage(Page):
    """The part of an execution's page that may change while the execution runs."""

    name = "live"
    methods = ("GET", "HEAD")

    def serve(
        self, model_admin: PagesAdmin, request: HttpRequest, object_id: str, **kwargs: Any
    ) -> HttpResponse:
        # It is the change form, which checks the permission, with a smaller template.
        response = model_admin.changeform_view(request, object_id)
        if isinstance(response, TemplateResponse):
            response.template_name = "admin/durable_monty/execution/live.html"
        return response


def page_context(
    model_admin: PagesAdmin, request: HttpRequest, execution: Execution
) -> dict[str, Any]:
    """Returns the template's variables, as far as the user may see calls and source."""
    facts = facts_of(execution)
    live_url, query = model_admin.url_of(execution, "live"), request.GET.urlencode()
    sees_calls = model_admin.may_view(Call, request)
    context: dict[str, Any] = {
        "title": gettext("Execution"),
        "sentence": status_text(execution, facts.fleet, facts.now, facts.using),
        "now": facts.now,
        "is_live": not execution.is_finished,
        "live_url": f"{live_url}?{query}" if query else live_url,
        "turns_url": model_admin.url_of(execution, "turns") if execution.turn else "",
        "acts": [
            (act, model_admin.link_to(act.call) if act.call is not None else "")
            for act in find_manual_actions(execution, facts.using, with_calls=sees_calls)
        ],
    }
    found = count_places(execution, facts.using) if sees_calls else ()
    source = execution.program.source
    lines = LineMap(source)
    links = Links(
        call=lambda pk: model_admin.url_of(Call(pk=pk)),
        turn=lambda turn: turn_url(model_admin, execution, turn),
    )
    if sees_calls:
        context["calls"] = _calls_table(request, execution, found, lines, links)
    if model_admin.may_view(Program, request):
        beside = calls_by_line(found, lines, links.call, lambda line: f"?line={line}#calls")
        context["source"] = source_of(source, lines, mark_of(execution), beside)
    return context


def _calls_table(
    request: HttpRequest,
    execution: Execution,
    found: tuple[Place, ...],
    lines: LineMap,
    links: Links,
) -> CallsTable:
    """Returns the page of the table, and the line of the source, that the URL names."""
    facts = facts_of(execution)
    # Longer numbers are beyond the integers of some databases.
    texts = (request.GET.get(name, "") for name in ("line", "calls"))
    line, number = (int(text) if text.isdecimal() and len(text) < 10 else None for text in texts)
    span = None if line is None else lines.bytes_of(line)
    within = None if span is None else (span.start, span.end)
    calls = read_timeline(execution, found, number, facts.now, facts.using, within=within)
    return calls_table(calls, found, facts, links, line=None if span is None else line)
