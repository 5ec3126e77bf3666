"""The timeline of calls as SVG: a drawing for the head of the table, and one for each row.

All of it is attributes and classes, in integers. A phase is told by its shape: a thin line is a
queue, a solid bar runs, a hollow one waits, and what is dashed is not over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from operator import attrgetter

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from durable_monty.admin.execution.timeline_scale import WIDTH, Scale
from durable_monty.models import AttemptOutcome
from durable_monty.reads.phases import Phase, PhaseKind
from durable_monty.wording.calls import phase_text
from durable_monty.wording.times import exact, span

_HEIGHT = 24
# Kind -> top and height of its bar.
_BARS = {PhaseKind.QUEUED: (11, 2), PhaseKind.RUNNING: (5, 14)}
_WAITING = (8, 8)
_NARROWEST = 4
_UNSUCCESSFUL = {outcome.value for outcome in AttemptOutcome}
# Units that a character of a label takes, where the table is narrow.
_CHARACTER = 16
_BETWEEN_LABELS = 4


@dataclass(frozen=True)
class Timeline:
    """How the calls of one page are drawn. `is_live`: whether it ends now."""

    scale: Scale
    now: datetime
    is_live: bool

    def axis(self) -> SafeString:
        """Times for the head of the column."""
        labels = format_html_join(
            "",
            '<text x="{}%" y="13" text-anchor="{}"{}>{}</text>',
            (
                (_percent(label.x), label.anchor, label.mark, label.text)
                for label in _without_overlap(self._labels())
            ),
        )
        return format_html('<svg class="dm-axis" aria-hidden="true">{}</svg>', labels)

    def row(self, phases: Iterable[Phase]) -> SafeString:
        """The bars of one call."""
        drawn = list(phases)
        return format_html(
            '{}<svg class="dm-bars" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
            'aria-label="{}">{}</svg>',
            self._ground,
            WIDTH,
            _HEIGHT,
            "; ".join(phase_text(phase) for phase in drawn),
            format_html_join("", "{}", ((self._bar(phase),) for phase in drawn)),
        )

    @cached_property
    def _ground(self) -> SafeString:
        """What is the same in all rows: as high as its row, however high that is."""
        lines = format_html_join(
            "",
            '<path class="dm-tick" d="M{} 0V{}"/>',
            ((x, _HEIGHT) for x, _since in self.scale.ticks()),
        )
        folds = format_html_join(
            "",
            '<path class="dm-fold" d="M{} 0H{}V{}H{}z"><title>{}</title></path>',
            (
                (fold.x, fold.x + fold.width, _HEIGHT, fold.x, _folded(span(fold.length)))
                for fold in self.scale.folds
            ),
        )
        return format_html(
            '<svg class="dm-ground" viewBox="0 0 {} {}" preserveAspectRatio="none" '
            'aria-hidden="true">{}{}</svg>',
            WIDTH,
            _HEIGHT,
            folds,
            lines,
        )

    def _bar(self, phase: Phase) -> SafeString:
        start, end = self.scale.x(phase.start), self.scale.x(phase.end)
        width = max(_NARROWEST, end - start)
        start = min(start, WIDTH - width)
        top, height = _BARS.get(phase.kind, _WAITING)
        bar = format_html(
            '<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
            _classes(phase),
            start,
            top,
            width,
            height,
            f"{phase_text(phase)}\n{exact(phase.start)}",
        )
        if phase.outcome not in _UNSUCCESSFUL:
            return bar
        return format_html(
            '{}<path class="dm-stop" d="M{} 1V{}"/>', bar, start + width, _HEIGHT - 1
        )

    def _clock(self, moment: datetime) -> str:
        """The time, or the date where that is another than the timeline began with."""
        local = timezone.localtime(moment)
        first = timezone.localtime(self.scale.pieces[0].start)
        same_day = local.date() == first.date()
        return date_format(local, "TIME_FORMAT" if same_day else "SHORT_DATE_FORMAT")

    def _labels(self) -> Iterator[_Label]:
        """The most important first."""
        end = WIDTH
        if self.is_live:
            now = _Label(WIDTH, gettext("now"))
            end = now.left - _BETWEEN_LABELS
            yield now
        for fold in sorted(self.scale.folds, key=attrgetter("length"), reverse=True):
            x = min(fold.x + fold.width // 2, end)
            yield _Label(x, span(fold.length), "dm-folded")
        for piece in self.scale.pieces:
            if not piece.is_fold:
                yield _Label(piece.x, self._clock(piece.start))
        for x, since in self.scale.ticks():
            yield _Label(x, f"+{span(since)}")


@dataclass(frozen=True, slots=True)
class _Label:
    x: int
    text: str
    css: str = ""

    @property
    def anchor(self) -> str:
        half = self.width // 2
        if self.x < half:
            return "start"
        return "end" if self.x > WIDTH - half else "middle"

    @property
    def mark(self) -> SafeString | str:
        return format_html(' class="{}"', self.css) if self.css else ""

    @property
    def width(self) -> int:
        return _CHARACTER * len(self.text)

    @property
    def left(self) -> int:
        before = {"start": 0, "middle": self.width // 2, "end": self.width}
        return self.x - before[self.anchor]


def legend() -> tuple[tuple[SafeString, str], ...]:
    """A sample of each shape, and what it means."""
    return (
        (_sample("dm-phase dm-queued", *_BARS[PhaseKind.QUEUED]), gettext("in a queue")),
        (_sample("dm-phase dm-running", *_BARS[PhaseKind.RUNNING]), gettext("runs")),
        (
            _sample("dm-phase dm-waits", *_WAITING),
            gettext("waits for a person, a time or its next attempt"),
        ),
        (_sample("dm-phase dm-waits dm-open", *_WAITING), gettext("dashed: still open")),
        (
            format_html(
                '{}<path class="dm-fold" d="M4 0H28V{}H4z"/></svg>', _sample_start(), _HEIGHT
            ),
            gettext("nothing ran: folded"),
        ),
    )


def _sample(css: str, top: int, height: int) -> SafeString:
    return format_html(
        '{}<rect class="{}" x="2" y="{}" width="28" height="{}"/></svg>',
        _sample_start(),
        css,
        top,
        height,
    )


def _sample_start() -> SafeString:
    return format_html('<svg class="dm-sample" viewBox="0 0 32 {}" aria-hidden="true">', _HEIGHT)


def _classes(phase: Phase) -> str:
    shape = phase.kind if phase.kind in _BARS else "waits"
    names = ["dm-phase", f"dm-{shape}"]
    if phase.outcome:
        names.append(f"dm-was-{phase.outcome.replace('_', '-')}")
    if phase.is_open:
        names.append("dm-open")
    return " ".join(names)


def _without_overlap(labels: Iterable[_Label]) -> list[_Label]:
    placed: list[_Label] = []
    for label in labels:
        left, right = label.left, label.left + label.width + _BETWEEN_LABELS
        if all(
            right <= other.left or left >= other.left + other.width + _BETWEEN_LABELS
            for other in placed
        ):
            placed.append(label)
    return placed


def _folded(text: str) -> str:
    return gettext("%(span)s in which nothing ran, not drawn to scale") % {"span": text}


def _percent(x: int) -> int:
    return round(100 * x / WIDTH)
