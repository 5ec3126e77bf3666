from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, strategies as st

from durable_monty.admin.execution.timeline_scale import WIDTH, scale_of
from durable_monty.reads.phases import Phase, PhaseKind

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def phase(kind, start, end, **facts):
    return Phase(PhaseKind(kind), at(start), at(end), **facts)


def test_time_is_drawn_to_scale():
    scale = scale_of([phase("running", 0, 10)], at(0), at(10))

    assert [scale.x(at(second)) for second in (-1, 0, 5, 10, 11)] == [0, 0, 500, 1000, 1000]
    assert scale.folds == ()
    assert [(x, since.total_seconds()) for x, since in scale.ticks()] == [
        (100, 1),
        *[(100 * n, n) for n in range(2, 10)],
    ]


def test_a_long_gap_is_folded():
    scale = scale_of(
        [phase("running", 0, 10), phase("person", 10, 3610), phase("running", 3610, 3620)],
        at(0),
        at(3620),
    )

    (fold,) = scale.folds
    assert (fold.start, fold.end, fold.x, fold.width) == (at(10), at(3610), 455, 90)
    assert [scale.x(at(second)) for second in (10, 1810, 3610, 3620)] == [455, 500, 545, 1000]


def test_an_answer_within_a_long_gap_stays_visible():
    scale = scale_of(
        [phase("running", 0, 10), phase("person", 10, 3600), phase("person", 10, 7200)],
        at(0),
        at(7200),
    )

    assert [(fold.start, fold.end) for fold in scale.folds] == [
        (at(10), at(3600)),
        (at(3600), at(7200)),
    ]


def test_what_only_waits_is_not_folded():
    waits = [phase("person", 0, 3600), phase("sleep", 3600, 7200)]
    assert scale_of(waits, at(0), at(7200)).folds == ()


def test_a_gap_while_something_runs_is_not_folded():
    both = [phase("running", 0, 3600), phase("person", 1, 3599)]
    assert scale_of(both, at(0), at(3600)).folds == ()


def test_nothing_at_all():
    assert scale_of([], NOON, NOON).x(NOON) == 0


moments = st.integers(0, 10**7)
kinds = st.sampled_from(list(PhaseKind))
phases = st.builds(
    lambda kind, start, length: phase(kind, start / 1000, (start + length) / 1000),
    kinds,
    moments,
    moments,
)


@given(st.lists(phases, max_size=30), moments)
def test_time_never_runs_backwards(drawn, length):
    scale = scale_of(drawn, at(0), at(length / 1000))

    pieces = scale.pieces
    assert (pieces[0].x, pieces[-1].x + pieces[-1].width) == (0, WIDTH)
    for piece, following in pairwise(pieces):
        assert (piece.end, piece.x + piece.width) == (following.start, following.x)
    places = [scale.x(at(second / 1000)) for second in range(0, length, max(1, length // 50))]
    assert places == sorted(places)
    assert all(isinstance(x, int) and 0 <= x <= WIDTH for x in places)
