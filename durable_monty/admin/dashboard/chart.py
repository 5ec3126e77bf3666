"""A chart as whole numbers: a localised `12,5` would break the SVG."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import formats, timezone
from django.utils.translation import gettext as _

from durable_monty.reads.finished import Bucket, Period, Throughput

# Units of the SVG, which is stretched to the width that there is.
_STEP = 10
_GAP = 2
_HEIGHT = 120
_LEAST = 3  # so that one failure among thousands is seen


@dataclass(frozen=True, slots=True)
class Part:
    status: str
    y: int
    height: int


@dataclass(frozen=True, slots=True)
class Bar:
    """`when` and the counts are a row of the table behind the chart."""

    x: int
    parts: tuple[Part, ...]
    when: str
    bucket: Bucket

    @property
    def title(self) -> str:
        facts = {"when": self.when, "completed": self.bucket.completed}
        facts |= {"failed": self.bucket.failed, "cancelled": self.bucket.cancelled}
        text = _("%(when)s: %(completed)s completed, %(failed)s failed, %(cancelled)s cancelled")
        return text % facts


@dataclass(frozen=True, slots=True)
class Chart:
    """`top`: how much the full height is; `marks`: the times below, from left to right."""

    width: int
    height: int
    bar_width: int
    bars: tuple[Bar, ...]
    top: int
    marks: tuple[str, ...]

    @property
    def middle(self) -> int:
        return self.height // 2


def chart(throughput: Throughput, span: Period) -> Chart:
    buckets = throughput.buckets
    top = _round_up(max(bucket.total for bucket in buckets))
    bars = (
        Bar(
            number * _STEP + _GAP // 2,
            tuple(_parts(bucket, top)),
            _when(bucket.begins, span.step),
            bucket,
        )
        for number, bucket in enumerate(buckets)
    )
    middle = buckets[len(buckets) // 2].begins
    ends = buckets[-1].begins + span.step
    marks = (_mark(buckets[0].begins, span), _mark(middle, span), _mark(ends, span))
    return Chart(len(buckets) * _STEP, _HEIGHT, _STEP - _GAP, tuple(bars), top, marks)


def _parts(bucket: Bucket, top: int) -> Iterator[Part]:
    """From the bottom up; failures stand below, where they are compared."""
    y = _HEIGHT
    for status in ("failed", "cancelled", "completed"):
        if count := getattr(bucket, status):
            height = min(y, max(_LEAST, round(count * _HEIGHT / top)))
            y -= height
            yield Part(status, y, height)


def _round_up(count: int) -> int:
    """To 1, 2, 5 or 10 of its power of ten."""
    power: int = 10 ** max(0, len(str(count)) - 1)
    return next((power * by for by in (1, 2, 5, 10) if power * by >= count), 0) if count else 0


def _when(begins: datetime, step: timedelta) -> str:
    first, last = timezone.localtime(begins), timezone.localtime(begins + step)
    day = formats.date_format(first, "MONTH_DAY_FORMAT")
    return _("%(day)s, %(begin)s to %(end)s") % {
        "day": day,
        "begin": formats.time_format(first, "H:i"),
        "end": formats.time_format(last, "H:i"),
    }


def _mark(moment: datetime, span: Period) -> str:
    local = timezone.localtime(moment)
    if span.step * span.steps <= timedelta(days=1):
        return formats.time_format(local, "H:i")
    return f"{formats.date_format(local, 'MONTH_DAY_FORMAT')}, {formats.time_format(local, 'H:i')}"
