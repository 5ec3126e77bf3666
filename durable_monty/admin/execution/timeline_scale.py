"""The scale of a timeline, on which long idle gaps are folded."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from operator import itemgetter

from durable_monty.reads.phases import Phase, PhaseKind

# Units of the drawing's width: integers, because a localised 12,5 would break it.
WIDTH = 1000

# A gap in which nothing runs is folded if it is this many times longer than all running time.
_LONG = 3
_NEVER_FOLDED = timedelta(seconds=2)
_MOST_FOLDS = 8
_FOLD_WIDTH = 90
_Stretch = tuple[datetime, datetime]
_BUSY = (PhaseKind.QUEUED, PhaseKind.RUNNING)
# Room for the label of a tick.
_LABEL_WIDTH = 100
_SECOND, _MINUTE, _HOUR, _DAY = 1, 60, 3600, 86_400
_STEPS: Sequence[float] = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(_SECOND * n for n in (1, 2, 5, 10, 20, 30)),
    *(_MINUTE * n for n in (1, 2, 5, 10, 20, 30)),
    *(_HOUR * n for n in (1, 2, 4, 8, 12)),
    *(_DAY * n for n in (1, 2, 7, 14, 28, 91, 182, 364)),
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of time, drawn to scale unless it is folded."""

    start: datetime
    end: datetime
    x: int
    width: int
    is_fold: bool

    @property
    def length(self) -> timedelta:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Scale:
    pieces: tuple[Piece, ...]

    @property
    def folds(self) -> tuple[Piece, ...]:
        return tuple(piece for piece in self.pieces if piece.is_fold)

    def x(self, moment: datetime) -> int:
        """Returns the place of a moment; moments beyond an end are drawn there."""
        for piece in self.pieces:
            if moment < piece.end:
                since = max(timedelta(), moment - piece.start)
                return piece.x + round(piece.width * (since / piece.length))
        return WIDTH

    def ticks(self) -> Iterator[tuple[int, timedelta]]:
        """Yields places with room for a label, and their time since the start of their piece."""
        for piece in self.pieces:
            if piece.is_fold or piece.width < 2 * _LABEL_WIDTH:
                continue
            seconds = piece.length.total_seconds()
            least = seconds * _LABEL_WIDTH / piece.width
            step = next((step for step in _STEPS if step >= least), _STEPS[-1])
            at = step
            while at < seconds * (1 - _LABEL_WIDTH / piece.width / 2):
                since = timedelta(seconds=at)
                yield self.x(piece.start + since), since
                at += step


def scale_of(phases: Iterable[Phase], start: datetime, end: datetime) -> Scale:
    """Returns the scale from `start` to `end` on which these phases are drawn."""
    # A scale divides by its length, and one moment has none.
    end = max(end, start + timedelta(milliseconds=1))
    phases = [phase for phase in phases if phase.start < end and phase.end > start]
    busy: list[_Stretch] = []
    for begin, stop in sorted((each.start, each.end) for each in phases if each.kind in _BUSY):
        if busy and begin <= busy[-1][1]:
            busy[-1] = (busy[-1][0], max(busy[-1][1], stop))
        else:
            busy.append((begin, stop))
    events = {at for phase in phases for at in (phase.start, phase.end) if start < at < end}
    gaps = pairwise(sorted({start, end} | events))
    return Scale(tuple(_pieces(start, end, _folds(gaps, busy))))


def _folds(gaps: Iterable[_Stretch], busy: Sequence[_Stretch]) -> list[_Stretch]:
    """Returns the longest of the gaps in which nothing runs."""
    ran = sum((stop - begin for begin, stop in busy), timedelta())
    if not ran:
        return []
    least = max(_NEVER_FOLDED, _LONG * ran)
    idle = []
    for gap in gaps:
        before = bisect_right(busy, gap[0], key=itemgetter(0)) - 1
        is_busy = before >= 0 and busy[before][1] >= gap[1]
        if not is_busy and gap[1] - gap[0] > least:
            idle.append(gap)
    return sorted(sorted(idle, key=lambda gap: gap[0] - gap[1])[:_MOST_FOLDS])


def _pieces(start: datetime, end: datetime, folded: Sequence[_Stretch]) -> Iterator[Piece]:
    """Yields the pieces from left to right. Rounding never leaves a hole between them."""
    hidden = sum((stop - begin for begin, stop in folded), timedelta())
    seen, room = end - start - hidden, WIDTH - _FOLD_WIDTH * len(folded)
    x, at, drawn = 0, start, timedelta()
    for begin, stop in [*folded, (end, end)]:
        if begin > at:
            drawn += begin - at
            folds_before = sum(1 for gap in folded if gap[1] <= at)
            until = folds_before * _FOLD_WIDTH + round(room * (drawn / seen))
            yield Piece(at, begin, x, until - x, is_fold=False)
            x = until
        if stop > begin:
            yield Piece(begin, stop, x, _FOLD_WIDTH, is_fold=True)
            x, at = x + _FOLD_WIDTH, stop
