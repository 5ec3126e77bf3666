"""Columns of the list of calls, and fields of their page."""

from __future__ import annotations

from django.contrib import admin
from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty.admin.base import facts_of, time_column
from durable_monty.admin.call.attempts import attempts_table
from durable_monty.admin.downloads import Downloads
from durable_monty.admin.execution.calls_table import timeline_of
from durable_monty.admin.execution.turns import turn_url
from durable_monty.admin.formats import badge, block, json_block, link, moment, name_and_id
from durable_monty.admin.pages import PagesAdmin
from durable_monty.admin.source.highlight import LineMap, Span
from durable_monty.admin.source.lines import Mark, source_of
from durable_monty.admin.values.call_signature import arguments, signature
from durable_monty.models import Call, Execution
from durable_monty.reads.timeline import read_timed_call
from durable_monty.wording.calls import phase_text, waits_for
from durable_monty.wording.times import span

# Lines of the source that are shown before and after the call.
_AROUND = 2
# The last phases are listed in words below the timeline.
_PHASES = 30

FILES = Downloads(
    {
        "arguments.json": lambda call: f'{{"args": {call.args}, "kwargs": {call.kwargs}}}',
        "result.json": lambda call: call.result,
        "traceback.txt": lambda call: call.error_traceback,
    }
)


class CallColumns(PagesAdmin):
    asked = time_column("created_at", _("called"))
    started = time_column("started_at", _("started"))
    finished = time_column("finished_at", _("answered"))
    due = time_column("due_at", _("due"))
    arguments = FILES.column("arguments.json", _("arguments"), arguments)
    result_block = FILES.column("result.json", _("result"), lambda row: json_block(row.result))
    traceback_block = FILES.column(
        "traceback.txt", _("traceback"), lambda row: block(row.error_traceback)
    )

    @admin.display(description=_("status"))
    def state(self, call: Call) -> SafeString:
        return badge(call.status, call.get_status_display())

    @admin.display(description=_("waits for"))
    def waits_for(self, call: Call) -> str:
        facts = facts_of(call)
        return waits_for(call, facts.fleet, facts.now) if call.is_open else "-"

    @admin.display(description=_("execution"))
    def of_execution(self, call: Call) -> SafeString:
        return self.link_to(call.execution, name_and_id(call.execution))

    @admin.display(description=_("execution"))
    def execution_link(self, call: Call) -> SafeString:
        return self.link_to(call.execution)

    @admin.display(description=_("function"))
    def signature(self, call: Call) -> SafeString:
        return format_html("<code>{}</code>", signature(call.function))

    @admin.display(description=_("failed attempts"))
    def attempts(self, call: Call) -> SafeString:
        return attempts_table(call, facts_of(call).now)

    @admin.display(description=_("duration"))
    def took(self, call: Call) -> str:
        return "-" if call.finished_at is None else span(call.finished_at - call.created_at)

    @admin.display(description=_("timeline"))
    def timeline(self, call: Call) -> SafeString:
        facts = facts_of(call)
        phases = read_timed_call(call, facts.now, facts.using).phases
        words = format_html_join(
            "",
            "<li>{}: {}</li>",
            ((moment(phase.start, facts.now), phase_text(phase)) for phase in phases[-_PHASES:]),
        )
        return format_html(
            '{}<ol class="dm-phases" start="{}">{}</ol>',
            timeline_of(phases, facts),
            max(1, len(phases) - _PHASES + 1),
            words,
        )

    @admin.display(description=_("called from"))
    def called_from(self, call: Call) -> SafeString:
        source = call.execution.program.source
        lines = LineMap(source)
        mark = Mark(gettext("called here"), Span(call.position_start, call.position_end))
        line = lines.line_of(call.position_start)
        shown = source_of(source, lines, mark, {}).lines
        around = shown[max(0, line - 1 - _AROUND) : line + _AROUND]
        return format_html(
            '<ol class="dm-source" tabindex="0" aria-label="{}">{}</ol>{}',
            gettext("Where it was called"),
            render_to_string("admin/durable_monty/execution/lines.html", {"lines": around}),
            link(
                f"{self.url_of(call.execution)}?line={line}#calls",
                gettext("Calls of line %(line)d") % {"line": line},
            ),
        )

    @admin.display(description=_("made in turn"))
    def made_in(self, call: Call) -> SafeString | str:
        return self._turn(call, call.turn)

    @admin.display(description=_("delivered in turn"))
    def delivered_in(self, call: Call) -> SafeString | str:
        return "-" if call.delivered_turn is None else self._turn(call, call.delivered_turn)

    def _turn(self, call: Call, turn: int) -> SafeString | str:
        # A site may show calls alone.
        if Execution not in self.admin_site._registry:
            return str(turn)
        return link(turn_url(self, call.execution, turn), turn)
