"""What the page of one execution shows besides its fields."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy as _
from django.views.decorators.http import require_safe

from durable_monty.admin.base import Page, ReadOnlyAdmin, page_of
from durable_monty.admin.execution.calls_table import CallsTable, Links, calls_table
from durable_monty.admin.execution.turns import TurnsMixin
from durable_monty.admin.formats import block
from durable_monty.admin.source.highlight import LineMap
from durable_monty.admin.source.lines import Source, calls_by_line, mark_of, source_of
from durable_monty.models import Call, Execution, ExecutionStatus, Program
from durable_monty.reads.history import find_manual_actions
from durable_monty.reads.timeline import Place, count_places, find_last_failures, read_timeline
from durable_monty.wording.executions import status_text

_LIVE = "admin/durable_monty/execution/live.html"


class ExecutionPageMixin(TurnsMixin, ReadOnlyAdmin):
    """Adds `<execution>/live/`: what of its page may change while it runs."""

    def get_urls(self) -> list[URLPattern]:
        live = self.admin_site.admin_view(self.live_view)
        name = "durable_monty_execution_live"
        return [path("<path:object_id>/live/", live, name=name), *super().get_urls()]

    @method_decorator(require_safe)
    def live_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The page itself, of which only the middle is rendered."""
        response = self.changeform_view(request, object_id)
        if isinstance(response, TemplateResponse):
            response.template_name = _LIVE
        return response

    def error_fields(self, request: HttpRequest, execution: Execution) -> list[str]:
        """The error's type and message stand in the sentence."""
        fields = ["traceback_block"] if execution.error_traceback else []
        if execution.status == ExecutionStatus.FAILED and self.may_view(Call, request):
            fields.append("function_tracebacks")
        return fields

    @admin.display(description=_("traceback of the function"))
    def function_tracebacks(self, execution: Execution) -> SafeString | str:
        """Of the calls that failed last."""
        calls = find_last_failures(execution, page_of(execution).using)
        return format_html_join(
            "",
            '<p class="dm-caption">{}</p>{}',
            ((self.link_to(call), block(call.error_traceback)) for call in calls),
        ) or gettext("None: the workflow itself raised this error.")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        execution: Execution = context["original"]
        page = page_of(execution)
        context["title"] = gettext("Execution")
        context["sentence"] = status_text(execution, page.fleet, page.now, page.using)
        context["now"] = page.now
        context["fields_before_calls"] = 2 if self.error_fields(request, execution) else 1
        context["is_live"] = not execution.is_finished
        context["live_url"] = self._live_url(request, execution)
        sees_calls = self.may_view(Call, request)
        found = count_places(execution, page.using) if sees_calls else ()
        lines = LineMap(execution.program.source)
        if sees_calls:
            context["calls"] = self._calls_table(request, execution, found, lines, page)
        if self.may_view(Program, request):
            context["source"] = self._source(execution, found, lines)
        if execution.turn:
            context["turns_url"] = self.url_of(execution, "turns")
        context["acts"] = [
            (act, self.link_to(act.call) if act.call is not None else "")
            for act in find_manual_actions(execution, page.using, with_calls=sees_calls)
        ]
        return super().render_change_form(request, context, *args, **kwargs)

    def _live_url(self, request: HttpRequest, execution: Execution) -> str:
        url = self.url_of(execution, "live")
        query = request.GET.urlencode()
        return f"{url}?{query}" if query else url

    def _calls_table(
        self,
        request: HttpRequest,
        execution: Execution,
        found: tuple[Place, ...],
        lines: LineMap,
        page: Page,
    ) -> CallsTable:
        line = _number(request, "line")
        span = None if line is None else lines.bytes_of(line)
        within = None if span is None else (span.start, span.end)
        calls = read_timeline(
            execution, found, _number(request, "calls"), page.now, page.using, within=within
        )
        links = Links(self._url_of_call, lambda turn: self.url_of_turn(execution, turn))
        shown = None if span is None else line
        return calls_table(calls, found, page, links, line=shown)

    def _source(self, execution: Execution, found: tuple[Place, ...], lines: LineMap) -> Source:
        beside = calls_by_line(found, lines, self._url_of_call, _url_of_line)
        return source_of(execution.program.source, lines, mark_of(execution), beside)

    def _url_of_call(self, pk: int) -> str:
        return self.url_of(Call(pk=pk))


def _url_of_line(line: int) -> str:
    return f"?line={line}#calls"


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 10 else None
