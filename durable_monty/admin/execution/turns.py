"""Time travel: the pages on which one steps through the turns of an execution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.forms import Script
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_safe

from durable_monty.admin.base import Page, ReadOnlyAdmin, page_of
from durable_monty.admin.formats import badge, cut, link, readable, short_arguments
from durable_monty.admin.source.highlight import LineMap, Span
from durable_monty.admin.source.lines import Mark, Source, mark_of, source_of
from durable_monty.models import Call, Execution, ExecutionStatus, Program
from durable_monty.reads import turns
from durable_monty.reads.turns import TurnCall, TurnCalls, TurnView

_PARAMETER = "turn"


@dataclass(frozen=True, slots=True)
class Step:
    """Where one stands among the turns, and where one can go: URLs, empty where there is none."""

    turn: int
    last: int
    first_url: str
    previous_url: str
    next_url: str
    last_url: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """A call as a turn sees it: an answer that it was given, or something that it asked."""

    link: SafeString
    state: SafeString
    value: str
    other_turn: SafeString | str
    line: int


class TurnsMixin(ReadOnlyAdmin):
    """Adds `<execution>/turns/` and `<execution>/turns/<number>/`."""

    class Media:
        css = {"all": ["durable_monty/source.css", "durable_monty/execution.css"]}
        js = [Script("durable_monty/execution.js", defer=True)]

    def get_urls(self) -> list[URLPattern]:
        latest = self.admin_site.admin_view(self.latest_turn_view)
        turn = self.admin_site.admin_view(self.turn_view)
        return [
            path("<path:object_id>/turns/", latest, name="durable_monty_execution_turns"),
            path("<path:object_id>/turns/<int:turn>/", turn, name="durable_monty_execution_turn"),
            *super().get_urls(),
        ]

    def url_of_turn(self, execution: Execution, turn: int) -> str:
        return self.url_of(execution, "turn", turn)

    @method_decorator(require_safe)
    def latest_turn_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Also where the form leads that asks for a number."""
        execution = self._viewed(request, object_id)
        if not execution.turn:
            return HttpResponseRedirect(self.url_of(execution))
        wanted = request.GET.get(_PARAMETER, "")
        turn = int(wanted) if wanted.isdecimal() and len(wanted) < 10 else execution.turn
        turn = min(max(1, turn), execution.turn)
        return HttpResponseRedirect(f"{self.url_of_turn(execution, turn)}#dm-steps")

    @method_decorator(require_safe)
    def turn_view(self, request: HttpRequest, object_id: str, turn: int) -> HttpResponse:
        execution = self._viewed(request, object_id)
        if not 1 <= turn <= execution.turn:
            raise Http404
        page = page_of(execution)
        view = turns.view_turn(execution, turn, page.using)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "original": execution,
            "title": gettext("Turn %(turn)d of %(last)d") % {"turn": turn, "last": execution.turn},
            "subtitle": str(execution),
            "execution_url": self.url_of(execution),
            "turns_url": self.url_of(execution, "turns"),
            "step": self._step(execution, turn),
            "state": self._turn_state(execution, turn),
            "at": turns.find_commit_time(execution, turn, page.using),
            "now": page.now,
            "view": view,
            "printed": cut(view.printed),
            **self._turn_calls(request, execution, turn, page),
        }
        if self.may_view(Program, request):
            context["source"] = self._turn_source(execution, turn, view, context)
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/durable_monty/execution/turn.html", context)

    def _viewed(self, request: HttpRequest, object_id: str) -> Execution:
        execution: Execution | None = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, execution):
            raise PermissionDenied
        if execution is None:
            raise Http404
        return execution

    def _step(self, execution: Execution, turn: int) -> Step:
        def url(number: int) -> str:
            if number == turn or not 1 <= number <= execution.turn:
                return ""
            return f"{self.url_of_turn(execution, number)}#dm-steps"

        last = execution.turn
        return Step(turn, last, url(1), url(turn - 1), url(turn + 1), url(last))

    def _turn_state(self, execution: Execution, turn: int) -> SafeString:
        """How the execution stood after the turn."""
        status = ExecutionStatus.WAITING
        if turn == execution.turn:
            status = ExecutionStatus(execution.status)
        return badge(status.value, status.label)

    def _turn_calls(
        self, request: HttpRequest, execution: Execution, turn: int, page: Page
    ) -> dict[str, Any]:
        """Empty, if the user may not see calls."""
        if not self.may_view(Call, request):
            return {}
        lines = LineMap(execution.program.source)
        delivered = turns.read_delivered(execution, turn, page.using)
        asked = turns.read_made(execution, turn, page.using)
        return {
            "delivered": [self._delivered(call, execution, lines) for call in delivered.calls],
            "delivered_left": _left(delivered),
            "asked": [self._asked(call, execution, lines) for call in asked.calls],
            "asked_left": _left(asked),
        }

    def _delivered(self, found: TurnCall, execution: Execution, lines: LineMap) -> Exchange:
        call = found.call
        return Exchange(
            self.link_to(call),
            badge(call.status, call.get_status_display()),
            cut(found.error if found.result is None else readable(found.result)),
            link(f"{self.url_of_turn(execution, call.turn)}#dm-steps", call.turn),
            lines.line_of(call.position_start),
        )

    def _asked(self, found: TurnCall, execution: Execution, lines: LineMap) -> Exchange:
        call, later = found.call, found.call.delivered_turn
        arguments = short_arguments(found.args)
        if found.kwargs != "{}":
            arguments = cut(f"{arguments}\n{readable(found.kwargs)}".lstrip())
        return Exchange(
            self.link_to(call),
            badge(call.status, call.get_status_display()),
            arguments,
            "-"
            if later is None
            else link(f"{self.url_of_turn(execution, later)}#dm-steps", later),
            lines.line_of(call.position_start),
        )

    def _turn_source(
        self, execution: Execution, turn: int, view: TurnView, context: dict[str, Any]
    ) -> Source:
        lines = LineMap(execution.program.source)
        asked: dict[int, list[SafeString]] = {}
        for exchange in context.get("asked", ()):
            asked.setdefault(exchange.line, []).append(exchange.link)
        beside = {
            number: links[0] if len(links) == 1 else link("#dm-asked", _counted(len(links)))
            for number, links in asked.items()
        }
        return source_of(execution.program.source, lines, _mark(execution, turn, view), beside)


def _mark(execution: Execution, turn: int, view: TurnView) -> Mark | None:
    if view.position is not None:
        return Mark(gettext("paused here"), Span(view.position.start, view.position.end))
    # Of the last turn the row itself knows, where a replay cannot tell.
    return mark_of(execution) if turn == execution.turn else None


def _counted(count: int) -> str:
    return ngettext("%(count)d call", "%(count)d calls", count) % {"count": count}


def _left(calls: TurnCalls) -> int:
    return calls.count - len(calls.calls)
