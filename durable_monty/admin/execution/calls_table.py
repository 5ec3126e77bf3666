"""The calls of an execution as a table, with a timeline in one of its columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from durable_monty.admin.base import Facts
from durable_monty.admin.execution.pager import Pager
from durable_monty.admin.execution.timeline import Timeline, legend
from durable_monty.admin.execution.timeline_scale import scale_of
from durable_monty.admin.formats import badge, link, short_arguments
from durable_monty.admin.source.lines import status_counts
from durable_monty.reads.phases import Phase
from durable_monty.reads.timeline import CallsPage, Place, TimedCall
from durable_monty.wording.calls import doing_text
from durable_monty.wording.times import exact, span


@dataclass(frozen=True, slots=True)
class CallRow:
    number: int
    link: SafeString
    arguments: str
    state: SafeString
    detail: str
    error: str
    bars: SafeString
    took: SafeString | str
    turns: SafeString


@dataclass(frozen=True, slots=True)
class CallsTable:
    """`line`: the only line of the source whose calls are shown; `counts` cover all calls."""

    page: CallsPage
    pager: Pager
    rows: tuple[CallRow, ...]
    elsewhere: tuple[CallRow, ...]
    axis: SafeString
    legend: tuple[tuple[SafeString, str], ...]
    counts: tuple[SafeString, ...]
    line: int | None


@dataclass(frozen=True, slots=True)
class Links:
    """Functions that give the URLs to which a row leads."""

    call: Callable[[int], str]
    turn: Callable[[int], str]


def calls_table(
    calls: CallsPage, places: Sequence[Place], facts: Facts, links: Links, *, line: int | None
) -> CallsTable:
    # One scale for all rows, so that the calls of a page can be compared.
    drawing = _timeline([timed.phases for timed in calls.calls], facts)

    of_line = "" if line is None else f"&line={line}"
    pager = Pager.of(calls.number, calls.pages, lambda to: f"?calls={to}{of_line}#calls")
    counts = []
    for status, count in status_counts(places):
        values = {"count": count, "status": status.label.lower()}
        counts.append(badge(status.value, gettext("%(count)d %(status)s") % values))
    return CallsTable(
        page=calls,
        pager=pager,
        rows=tuple(_row(timed, drawing, facts, links) for timed in calls.calls),
        elsewhere=tuple(_row(timed, drawing, facts, links) for timed in calls.other_open),
        axis=drawing.axis(),
        legend=legend(),
        counts=tuple(counts),
        line=line,
    )


def timeline_of(phases: Sequence[Phase], facts: Facts) -> SafeString:
    """Returns the timeline of one call."""
    drawing = _timeline([phases], facts)
    return format_html(
        '<div class="dm-timeline">{}<div class="dm-bars-box">{}</div></div>',
        drawing.axis(),
        drawing.row(phases),
    )


def _timeline(calls: Sequence[Sequence[Phase]], facts: Facts) -> Timeline:
    phases = [phase for call in calls for phase in call]
    start = min((phase.start for phase in phases), default=facts.now)
    end = max((phase.end for phase in phases), default=facts.now)
    scale = scale_of(phases, start, end)
    return Timeline(scale, is_live=any(phase.is_open for phase in phases))


def _row(timed: TimedCall, drawing: Timeline, facts: Facts, links: Links) -> CallRow:
    call = timed.call
    detail = gettext("by hand") if call.completed_by_name else ""
    took = span((call.finished_at or facts.now) - call.created_at)
    if call.is_open:
        detail = doing_text(call, facts.fleet, facts.now)
        took = gettext("%(span)s so far") % {"span": took}
    turns = link(links.turn(call.turn), call.turn)
    # A clock reading has its result in the turn that makes it.
    if call.delivered_turn not in (None, call.turn):
        delivered = link(links.turn(call.delivered_turn), call.delivered_turn)
        turns = format_html("{} → {}", turns, delivered)
    return CallRow(
        number=call.call_id,
        link=link(links.call(call.pk), call.function),
        arguments=short_arguments(timed.arguments),
        state=badge(call.status, call.get_status_display()),
        detail=detail,
        error=timed.error,
        bars=drawing.row(timed.phases),
        took=format_html(
            '<time datetime="{}" title="{}">{}</time>',
            call.created_at.isoformat(),
            gettext("called at %(time)s") % {"time": exact(call.created_at)},
            took,
        ),
        turns=turns,
    )
