"""The chart of finished executions, in whole numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import formats, timezone
from django.utils.translation import gettext as _

from durable_monty.reads.finished import Bucket, Period, Throughput

# Units of the SVG, which is stretched to the width of the page. They are whole numbers, because a
# localised 12,5 would break it.
_STEP = 10
_GAP = 2
_HEIGHT = 120
_LEAST = 3  # one failure among thousands can still be seen


@dataclass(frozen=True, slots=True)
class Part:
    status: str
    y: int
    height: int


@dataclass(frozen=True, slots=True)
class Bar:
    """`when` and `bucket` are also a row of the table behind the chart."""

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
    """`top`: the count at the full height; `marks`: the times below, from left to right."""

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
    most = max(bucket.total for bucket in buckets)
    power: int = 10 ** max(0, len(str(most)) - 1)
    # A round number is read faster than the highest count itself.
    top = next(power * by for by in (1, 2, 5, 10) if power * by >= most) if most else 0
    bars = tuple(
        Bar(
            number * _STEP + _GAP // 2,
            tuple(_parts(bucket, top)),
            _begin_and_end(bucket.begins, span.step),
            bucket,
        )
        for number, bucket in enumerate(buckets)
    )
    middle = buckets[len(buckets) // 2].begins
    ends = buckets[-1].begins + span.step
    marks = (_mark(buckets[0].begins, span), _mark(middle, span), _mark(ends, span))
    return Chart(len(buckets) * _STEP, _HEIGHT, _STEP - _GAP, bars, top, marks)


def _parts(bucket: Bucket, top: int) -> Iterator[Part]:
    y = _HEIGHT
    # Failures stand at the bottom, where bars can be compared.
    for status in ("failed", "cancelled", "completed"):
        if count := getattr(bucket, status):
            height = min(y, max(_LEAST, round(count * _HEIGHT / top)))
            y -= height
            yield Part(status, y, height)


def _begin_and_end(begins: datetime, step: timedelta) -> str:
    first, last = timezone.localtime(begins), timezone.localtime(begins + step)
    return _("%(day)s, %(begin)s to %(end)s") % {
        "day": formats.date_format(first, "MONTH_DAY_FORMAT"),
        "begin": formats.time_format(first, "H:i"),
        "end": formats.time_format(last, "H:i"),
    }


def _mark(moment: datetime, span: Period) -> str:
    local = timezone.localtime(moment)
    if span.step * span.steps <= timedelta(days=1):
        return formats.time_format(local, "H:i")
    return f"{formats.date_format(local, 'MONTH_DAY_FORMAT')}, {formats.time_format(local, 'H:i')}"
