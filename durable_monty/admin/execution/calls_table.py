"""The calls of an execution as a table, with a timeline for one of its columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from durable_monty.admin.base import Page
from durable_monty.admin.execution.timeline import Timeline, legend
from durable_monty.admin.execution.timeline_scale import scale_of
from durable_monty.admin.formats import badge, link, short_arguments
from durable_monty.admin.source.lines import status_counts
from durable_monty.models import Call, CallStatus
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
class Pager:
    """URLs of other pages; empty where there is none."""

    first: str
    previous: str
    next: str
    last: str


@dataclass(frozen=True, slots=True)
class CallsTable:
    """`line`: the only line of the source whose calls are shown; `counts` are those of all."""

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
    """Where a row leads to."""

    call: Callable[[int], str]
    turn: Callable[[int], str]


def calls_table(
    calls: CallsPage, places: Sequence[Place], page: Page, links: Links, *, line: int | None
) -> CallsTable:
    drawing = _drawing([timed.phases for timed in calls.calls], page)
    return CallsTable(
        calls,
        _pager(calls, line),
        tuple(_row(timed, drawing, page, links) for timed in calls.calls),
        tuple(_row(timed, drawing, page, links) for timed in calls.elsewhere),
        drawing.axis(),
        legend(),
        tuple(badge(status.value, _count(status, n)) for status, n in status_counts(places)),
        line,
    )


def _pager(calls: CallsPage, line: int | None) -> Pager:
    of_line = "" if line is None else f"&line={line}"

    def url(number: int) -> str:
        if number == calls.number or not 1 <= number <= calls.pages:
            return ""
        return f"?calls={number}{of_line}#calls"

    return Pager(url(1), url(calls.number - 1), url(calls.number + 1), url(calls.pages))


def timeline_of(phases: Sequence[Phase], page: Page) -> SafeString:
    """The timeline of one call."""
    drawing = _drawing([phases], page)
    return format_html(
        '<div class="dm-timeline">{}<div class="dm-bars-box">{}</div></div>',
        drawing.axis(),
        drawing.row(phases),
    )


def _drawing(calls: Sequence[Sequence[Phase]], page: Page) -> Timeline:
    phases = [phase for call in calls for phase in call]
    if not phases:
        return Timeline(scale_of([], page.now, page.now), page.now, is_live=False)
    start = min(phase.start for phase in phases)
    end = max(phase.end for phase in phases)
    scale = scale_of(phases, start, max(end, start + timedelta(milliseconds=1)))
    return Timeline(scale, page.now, is_live=any(phase.is_open for phase in phases))


def _row(timed: TimedCall, drawing: Timeline, page: Page, links: Links) -> CallRow:
    call = timed.call
    return CallRow(
        number=call.call_id,
        link=link(links.call(call.pk), call.function),
        arguments=short_arguments(timed.arguments),
        state=badge(call.status, call.get_status_display()),
        detail=_detail(call, page),
        error=timed.error,
        bars=drawing.row(timed.phases),
        took=_took(call, page),
        turns=_turns(call, links),
    )


def _detail(call: Call, page: Page) -> str:
    """Whom it waits for, and how far that is; or who answered it."""
    if not call.is_open:
        return gettext("by hand") if call.completed_by_name else ""
    return doing_text(call, page.fleet, page.now)


def _took(call: Call, page: Page) -> SafeString:
    text = span((call.finished_at or page.now) - call.created_at)
    if call.is_open:
        text = gettext("%(span)s so far") % {"span": text}
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        call.created_at.isoformat(),
        gettext("asked at %(time)s") % {"time": exact(call.created_at)},
        text,
    )


def _turns(call: Call, links: Links) -> SafeString:
    made = link(links.turn(call.turn), call.turn)
    if call.delivered_turn is None or call.delivered_turn == call.turn:
        return made
    return format_html("{} → {}", made, link(links.turn(call.delivered_turn), call.delivered_turn))


def _count(status: CallStatus, count: int) -> str:
    return gettext("%(count)d %(status)s") % {"count": count, "status": status.label.lower()}
