"""The timeline of calls as SVG: a drawing for the head of the table, and one for each row.

The drawing has no inline styles, and its numbers are integers. A phase has a shape: a thin line is
a queue, a solid bar runs, a hollow bar waits, and a dashed one is still open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
# The top and the height of the bars of each kind.
_BARS = {PhaseKind.QUEUED: (11, 2), PhaseKind.RUNNING: (5, 14)}
_WAITING = (8, 8)
_NARROWEST = 4
_UNSUCCESSFUL = {outcome.value for outcome in AttemptOutcome}
# Units that a character of a label takes where the table is narrow.
_CHARACTER = 16
_BETWEEN_LABELS = 4


@dataclass(frozen=True)
class Timeline:
    """Draws the calls of one page. `is_live`: whether the timeline ends now."""

    scale: Scale
    is_live: bool

    def axis(self) -> SafeString:
        """Returns the times for the head of the column."""
        placed: list[_Label] = []
        for label in self._labels():
            if not any(label.overlaps(other) for other in placed):
                placed.append(label)
        # Percentages, so that the text is not stretched with the bars.
        labels = format_html_join(
            "",
            '<text x="{}%" y="13" text-anchor="{}"{}>{}</text>',
            (
                (round(100 * label.x / WIDTH), label.anchor, label.mark, label.text)
                for label in placed
            ),
        )
        return format_html('<svg class="dm-axis" aria-hidden="true">{}</svg>', labels)

    def row(self, phases: Iterable[Phase]) -> SafeString:
        """Returns the bars of one call."""
        drawn = list(phases)
        # Stretched to the width of its column; its strokes are not, by execution.css.
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
        """The ticks and folds behind the bars, which are the same in all rows."""
        lines = format_html_join(
            "",
            '<path class="dm-tick" d="M{} 0V{}"/>',
            ((x, _HEIGHT) for x, _since in self.scale.ticks()),
        )
        title = gettext("%(span)s in which nothing ran, not drawn to scale")
        folds = format_html_join(
            "",
            '<path class="dm-fold" d="M{} 0H{}V{}H{}z"><title>{}</title></path>',
            (
                (
                    fold.x,
                    fold.x + fold.width,
                    _HEIGHT,
                    fold.x,
                    title % {"span": span(fold.length)},
                )
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
        # However short a phase is, its bar can be seen.
        width = max(_NARROWEST, end - start)
        start = min(start, WIDTH - width)
        top, height = _BARS.get(phase.kind, _WAITING)
        names = ["dm-phase", f"dm-{phase.kind if phase.kind in _BARS else 'waits'}"]
        names += [f"dm-was-{phase.outcome.replace('_', '-')}"] if phase.outcome else []
        names += ["dm-open"] if phase.is_open else []
        bar = format_html(
            '<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
            " ".join(names),
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

    def _labels(self) -> Iterator[_Label]:
        """Yields the labels of the axis, the most important first."""
        end = WIDTH
        if self.is_live:
            now = _Label(WIDTH, gettext("now"))
            end = now.left - _BETWEEN_LABELS
            yield now
        for fold in sorted(self.scale.folds, key=attrgetter("length"), reverse=True):
            x = min(fold.x + fold.width // 2, end)
            yield _Label(x, span(fold.length), "dm-folded")
        first_day = timezone.localtime(self.scale.pieces[0].start).date()
        for piece in self.scale.pieces:
            if not piece.is_fold:
                local = timezone.localtime(piece.start)
                same_day = local.date() == first_day
                style = "TIME_FORMAT" if same_day else "SHORT_DATE_FORMAT"
                yield _Label(piece.x, date_format(local, style))
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

    def overlaps(self, other: _Label) -> bool:
        return (
            self.left < other.left + other.width + _BETWEEN_LABELS
            and other.left < self.left + self.width + _BETWEEN_LABELS
        )


def legend() -> tuple[tuple[SafeString, str], ...]:
    """Returns a sample of each shape with its meaning."""
    rect = '<rect class="{}" x="2" y="{}" width="28" height="{}"/>'
    fold = '<path class="dm-fold" d="M4 0H28V{}H4z"/>'
    return (
        (_sample(rect, "dm-phase dm-queued", *_BARS[PhaseKind.QUEUED]), gettext("in a queue")),
        (_sample(rect, "dm-phase dm-running", *_BARS[PhaseKind.RUNNING]), gettext("runs")),
        (
            _sample(rect, "dm-phase dm-waits", *_WAITING),
            gettext("waits for a person, a time or its next attempt"),
        ),
        (_sample(rect, "dm-phase dm-waits dm-open", *_WAITING), gettext("dashed: still open")),
        (_sample(fold, _HEIGHT), gettext("idle time, shortened")),
    )


def _sample(shape: str, *values: object) -> SafeString:
    return format_html(
        '<svg class="dm-sample" viewBox="0 0 32 {}" aria-hidden="true">{}</svg>',
        _HEIGHT,
        format_html(shape, *values),
    )
