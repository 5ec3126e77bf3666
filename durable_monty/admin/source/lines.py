"""Workflow source as a page shows it: with a mark, and with calls beside its lines."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from durable_monty.admin.formats import badge
from durable_monty.admin.source.highlight import LineMap, Span, highlight
from durable_monty.models import CallStatus, Execution
from durable_monty.reads.timeline import Place

# Few digits: the message of an error can hold such a line, and int() refuses very many digits.
_TRACEBACK_LINE = re.compile(r'^ *File "workflow", line (\d{1,7})\b', re.MULTILINE)

_MOST_BLANK = 2


@dataclass(frozen=True, slots=True)
class Line:
    """`here`: why this line is marked; empty for other lines."""

    number: int
    html: SafeString
    here: str
    is_error: bool
    calls: SafeString | str


@dataclass(frozen=True, slots=True)
class Source:
    """`here`: the number of the marked line; `left_out`: how many lines are not shown."""

    lines: tuple[Line, ...]
    here: int | None
    left_out: int


@dataclass(frozen=True, slots=True)
class Mark:
    """An expression to mark, or the whole line in which an error was raised."""

    text: str
    span: Span | None = None
    error_line: int | None = None


def source_of(
    source: str, lines: LineMap, mark: Mark | None, calls: Mapping[int, SafeString]
) -> Source:
    """Returns the lines of `source`, with `calls` beside them by number."""
    span = None if mark is None else mark.span
    here = None if mark is None else mark.error_line
    if span is not None:
        here = lines.line_of(span.start)
    highlighted = highlight(source, span)
    shown = tuple(
        Line(
            number,
            html,
            mark.text if mark is not None and number == here else "",
            is_error=number == here and span is None,
            calls=calls.get(number, ""),
        )
        for number, html in _without_gaps(highlighted)
    )
    return Source(shown, here, len(lines) - len(highlighted))


def _without_gaps(lines: Iterable[SafeString]) -> Iterator[tuple[int, SafeString]]:
    """Yields the lines with their numbers, and at most two blank ones together, none at first.

    The source of a workflow in a file is blank where the rest of the file was.
    """
    blank = _MOST_BLANK
    for number, html in enumerate(lines, 1):
        blank = 0 if html else blank + 1
        if blank <= _MOST_BLANK:
            yield number, html


def mark_of(execution: Execution) -> Mark | None:
    """Returns where the execution is paused, or where it raised an error."""
    start, end = execution.position_start, execution.position_end
    if start is not None and end is not None:
        return Mark(gettext("paused here"), Span(start, end))
    # The last line of a traceback is the one that raised the error.
    lines = _TRACEBACK_LINE.findall(execution.error_traceback)
    return Mark(gettext("raised here"), error_line=int(lines[-1])) if lines else None


def calls_by_line(
    found: Iterable[Place],
    lines: LineMap,
    url_of_call: Callable[[int], str],
    url_of_line: Callable[[int], str],
) -> dict[int, SafeString]:
    """Returns for each line how many calls it made and their states, as a link to them."""
    made: dict[int, list[Place]] = defaultdict(list)
    for place in found:
        made[lines.line_of(place.byte)].append(place)
    links = {}
    for number, group in made.items():
        counts = status_counts(group)
        total = sum(count for _status, count in counts)
        states = ", ".join(
            gettext("%(count)d %(status)s") % {"count": count, "status": status.label}
            for status, count in counts
        )
        text = ngettext("%(count)d call: %(states)s", "%(count)d calls: %(states)s", total)
        title = text % {"count": total, "states": states}
        # The badges are shapes and numbers: the words are for screen readers too.
        links[number] = format_html(
            '<a class="dm-made" href="{}" aria-label="{}" title="{}">{}</a>',
            url_of_call(group[0].first_pk) if total == 1 else url_of_line(number),
            title,
            title,
            format_html_join("", "{}", ((badge(s.value, count),) for s, count in counts)),
        )
    return links


def status_counts(found: Iterable[Place]) -> list[tuple[CallStatus, int]]:
    """Returns how many calls have each status, in the order of the statuses."""
    counts: dict[str, int] = defaultdict(int)
    for place in found:
        counts[place.status] += place.count
    return [(status, counts[status]) for status in CallStatus if counts[status]]
