"""Time travel: the pages on which people step through the turns of an execution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from durable_monty.admin.base import facts_of
from durable_monty.admin.execution.pager import Pager
from durable_monty.admin.formats import badge, cut, link, readable, short_arguments
from durable_monty.admin.pages import Page, PagesAdmin
from durable_monty.admin.source.highlight import LineMap, Span
from durable_monty.admin.source.lines import Mark, Source, mark_of, source_of
from durable_monty.models import Call, Execution, ExecutionStatus, Program
from durable_monty.reads import turns
from durable_monty.reads.turns import TurnCalls, TurnView


@dataclass(frozen=True, slots=True)
class Exchange:
    """A call as a turn sees it: a result that came in, or a call that the turn started."""

    link: SafeString
    state: SafeString
    value: str
    other_turn: SafeString | str
    line: int


class TurnsPage(Page):
    """Leads to the last turn, or to the number that a form asks for."""

    name = "turns"
    methods = ("GET", "HEAD")

    def permits(self, model_admin: PagesAdmin, request: HttpRequest) -> bool:
        return model_admin.has_view_permission(request)

    def respond(
        self, model_admin: PagesAdmin, request: HttpRequest, row: Execution, **kwargs: Any
    ) -> HttpResponse:
        if not row.turn:
            return HttpResponseRedirect(model_admin.url_of(row))
        wanted = request.GET.get("turn", "")
        turn = int(wanted) if wanted.isdecimal() and len(wanted) < 10 else row.turn
        # A number beyond the last turn leads to the last, not to an error.
        turn = min(max(1, turn), row.turn)
        return HttpResponseRedirect(f"{turn_url(model_admin, row, turn)}#dm-steps")


class TurnPage(TurnsPage):
    name = "turn"
    path = "turns/<int:turn>/"

    def respond(
        self, model_admin: PagesAdmin, request: HttpRequest, row: Execution, **kwargs: Any
    ) -> HttpResponse:
        turn, facts = kwargs["turn"], facts_of(row)
        if not 1 <= turn <= row.turn:
            raise Http404
        view = turns.view_turn(row, turn, facts.using)
        status = ExecutionStatus.WAITING
        if turn == row.turn:
            status = ExecutionStatus(row.status)
        context: dict[str, Any] = {
            "subtitle": str(row),
            "turns_url": model_admin.url_of(row, "turns"),
            "turn": turn,
            "pager": Pager.of(
                turn, row.turn, lambda to: f"{turn_url(model_admin, row, to)}#dm-steps"
            ),
            "state": badge(status.value, status.label),
            "at": turns.find_commit_time(row, turn, facts.using),
            "now": facts.now,
            "view": view,
            "printed": cut(view.printed),
        }
        beside: dict[int, list[SafeString]] = {}
        if model_admin.may_view(Call, request):
            delivered = turns.read_delivered(row, turn, facts.using)
            made = turns.read_made(row, turn, facts.using)
            started = _exchanges(model_admin, row, made, started=True)
            context |= {
                "delivered": _exchanges(model_admin, row, delivered, started=False),
                "delivered_left": delivered.count - len(delivered.calls),
                "started": started,
                "started_left": made.count - len(made.calls),
            }
            # The source shows beside each line the calls that the turn started there.
            for exchange in started:
                beside.setdefault(exchange.line, []).append(exchange.link)
        if model_admin.may_view(Program, request):
            context["source"] = _source_after(row, turn, view, beside)
        title = gettext("Turn %(turn)d of %(last)d") % {"turn": turn, "last": row.turn}
        return model_admin.render_page(request, "execution/turn.html", title, row, **context)


def turn_url(model_admin: PagesAdmin, execution: Execution, turn: int) -> str:
    return model_admin.url_of(execution, "turn", turn)


def _source_after(
    execution: Execution, turn: int, view: TurnView, started: Mapping[int, Sequence[SafeString]]
) -> Source:
    """Returns the source as the turn left it; `started`: links to its calls, by line."""
    # The row itself knows the last turn, even where a replay cannot tell.
    mark = mark_of(execution) if turn == execution.turn else None
    if view.position is not None:
        mark = Mark(gettext("paused here"), Span(view.position.start, view.position.end))
    beside = {}
    for line, links in started.items():
        text = ngettext("%(count)d call", "%(count)d calls", len(links)) % {"count": len(links)}
        beside[line] = links[0] if len(links) == 1 else link("#dm-started", text)
    source = execution.program.source
    return source_of(source, LineMap(source), mark, beside)


def _exchanges(
    model_admin: PagesAdmin, execution: Execution, found: TurnCalls, *, started: bool
) -> list[Exchange]:
    """Returns calls with their arguments, or with the results that the turn was given."""
    lines = LineMap(execution.program.source)
    exchanges = []
    for part in found.calls:
        call = part.call
        other_turn: int | None = call.turn
        value = cut(part.error if part.result is None else readable(part.result))
        if started:
            other_turn, value = call.delivered_turn, short_arguments(part.args)
            if part.kwargs != "{}":
                value = cut(f"{value}\n{readable(part.kwargs)}".lstrip())
        url = "" if other_turn is None else turn_url(model_admin, execution, other_turn)
        exchange = Exchange(
            model_admin.link_to(call),
            badge(call.status, call.get_status_display()),
            value,
            link(f"{url}#dm-steps", other_turn) if url else "-",
            lines.line_of(call.position_start),
        )
        exchanges.append(exchange)
    return exchanges
