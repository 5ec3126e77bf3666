"""What the page of one call shows besides its answer: what it did when, and where it was made."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty.admin.base import ReadOnlyAdmin, page_of
from durable_monty.admin.execution.calls_table import timeline_of
from durable_monty.admin.formats import link, moment
from durable_monty.admin.source.highlight import LineMap, Span
from durable_monty.admin.source.lines import Mark, source_of
from durable_monty.models import Call, Execution, Program
from durable_monty.reads.timeline import read_timed_call
from durable_monty.wording.calls import phase_text

# Lines of the source before and after the call, and phases that are told in words.
_AROUND = 2
_TOLD = 30


class CallPageMixin(ReadOnlyAdmin):
    class Media:
        css = {"all": ["durable_monty/source.css", "durable_monty/execution.css"]}

    def what_it_did(self, request: HttpRequest) -> list[str]:
        """The fields that tell of it, as far as the user may see them."""
        return ["timeline", *(["called_from"] if self.may_view(Program, request) else [])]

    @admin.display(description=_("timeline"))
    def timeline(self, call: Call) -> SafeString:
        page = page_of(call)
        phases = read_timed_call(call, page.now, page.using).phases
        words = format_html_join(
            "",
            "<li>{}: {}</li>",
            ((moment(phase.start, page.now), phase_text(phase)) for phase in phases[-_TOLD:]),
        )
        return format_html(
            '{}<ol class="dm-phases" start="{}">{}</ol>',
            timeline_of(phases, page),
            max(1, len(phases) - _TOLD + 1),
            words,
        )

    @admin.display(description=_("called from"))
    def called_from(self, call: Call) -> SafeString:
        source = call.execution.program.source
        lines = LineMap(source)
        span = Span(call.position_start, call.position_end)
        shown = source_of(source, lines, Mark(gettext("called here"), span), {})
        line = lines.line_of(span.start)
        around = shown.lines[max(0, line - 1 - _AROUND) : line + _AROUND]
        excerpt = render_to_string("admin/durable_monty/execution/lines.html", {"lines": around})
        return format_html(
            '<ol class="dm-source" tabindex="0" aria-label="{}">{}</ol>{}',
            gettext("Where it was called"),
            excerpt,
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
        if Execution not in self.admin_site._registry:
            return str(turn)
        return link(self.url_of(call.execution, "turn", turn), turn)
