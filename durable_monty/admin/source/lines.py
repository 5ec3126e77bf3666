"""A workflow's source as a page shows it: what is marked, and what its lines have called."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from durable_monty.admin.formats import badge
from durable_monty.admin.source.highlight import LineMap, Span, highlight
from durable_monty.models import CallStatus, Execution
from durable_monty.reads.timeline import Place

# Of few digits: the message of an error can hold the like, and int() refuses very many.
_TRACEBACK_LINE = re.compile(r'^ *File "workflow", line (\d{1,7})\b', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Line:
    """`here`: why this line is pointed at; empty for others."""

    number: int
    html: SafeString
    here: str
    is_error: bool
    calls: SafeString | str


@dataclass(frozen=True, slots=True)
class Source:
    """`here`: the first line that is pointed at; `left_out`: lines that are not shown."""

    lines: tuple[Line, ...]
    here: int | None
    left_out: int


@dataclass(frozen=True, slots=True)
class Mark:
    """An expression to mark, or a whole line in which something was raised."""

    text: str
    span: Span | None = None
    error_line: int | None = None


def source_of(
    source: str, lines: LineMap, mark: Mark | None, calls: Mapping[int, SafeString]
) -> Source:
    """`calls`: what stands beside a line, by its number."""
    span = None if mark is None else mark.span
    here = None if mark is None else mark.error_line
    if span is not None:
        here = lines.line_of(span.start)
    shown = tuple(
        Line(
            number,
            html,
            mark.text if mark is not None and number == here else "",
            is_error=number == here and span is None,
            calls=calls.get(number, ""),
        )
        for number, html in enumerate(highlight(source, span), 1)
    )
    return Source(shown, here, len(lines) - len(shown))


def mark_of(execution: Execution) -> Mark | None:
    """Where it is paused, or has raised."""
    start, end = execution.position_start, execution.position_end
    if start is not None and end is not None:
        return Mark(gettext("paused here"), Span(start, end))
    lines = _TRACEBACK_LINE.findall(execution.error_traceback)
    return Mark(gettext("raised here"), error_line=int(lines[-1])) if lines else None


def calls_by_line(
    found: Iterable[Place],
    lines: LineMap,
    url_of_call: Callable[[int], str],
    url_of_line: Callable[[int], str],
) -> dict[int, SafeString]:
    """For each line, how many calls it made and how they stand: a link to them."""
    made: dict[int, list[Place]] = defaultdict(list)
    for place in found:
        made[lines.line_of(place.byte)].append(place)
    return {
        number: _calls_link(
            group,
            url_of_call(group[0].first_pk)
            if sum(place.count for place in group) == 1
            else url_of_line(number),
        )
        for number, group in made.items()
    }


def status_counts(found: Iterable[Place]) -> list[tuple[CallStatus, int]]:
    """How many calls have each status, in the order of the statuses."""
    counts: dict[str, int] = defaultdict(int)
    for place in found:
        counts[place.status] += place.count
    return [(status, counts[status]) for status in CallStatus if counts[status]]


def _calls_link(group: list[Place], url: str) -> SafeString:
    counts = status_counts(group)
    total = sum(count for _status, count in counts)
    title = ngettext("%(count)d call: %(states)s", "%(count)d calls: %(states)s", total) % {
        "count": total,
        "states": ", ".join(
            gettext("%(count)d %(status)s") % {"count": count, "status": status.label}
            for status, count in counts
        ),
    }
    badges = format_html_join(
        "", "{}", ((badge(status.value, count),) for status, count in counts)
    )
    return format_html(
        '<a class="dm-made" href="{}" aria-label="{}" title="{}">{}</a>', url, title, title, badges
    )
