from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone, translation

from durable_monty.wording.times import ago, exact, span, time_of_day

NOW = datetime(2026, 1, 31, 14, 2, 3, 123_999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(seconds=-1), "0 ms"),
        (timedelta(milliseconds=340), "340 ms"),
        (timedelta(milliseconds=999.9), "999 ms"),
        (timedelta(seconds=4.25), "4.2 s"),
        (timedelta(seconds=42.9), "42 s"),
        (timedelta(seconds=59.99), "59 s"),
        (timedelta(minutes=3, seconds=59), "3 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=2, minutes=5), "2 h 5 min"),
        (timedelta(days=4, hours=1, minutes=9), "4 d 1 h"),
        (timedelta(days=400), "400 d"),
    ],
)
def test_span(duration, text):
    assert span(duration) == text


def test_span_in_another_language():
    with translation.override("de"):
        assert span(timedelta(seconds=4.2)) == "4,2 s"


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOW - timedelta(milliseconds=900), "just now"),
        (NOW + timedelta(milliseconds=900), "just now"),
        (NOW - timedelta(minutes=3), "3 min ago"),
        (NOW + timedelta(seconds=30), "in 30 s"),
    ],
)
def test_ago(moment, text):
    assert ago(moment, NOW) == text


def test_the_time_of_another_day_has_its_date():
    assert time_of_day(NOW, NOW + timedelta(hours=1)) == "2:02 p.m."
    assert time_of_day(NOW, NOW + timedelta(hours=12)) == "Jan. 31, 2026, 2:02 p.m."
    with timezone.override(timezone.get_fixed_timezone(120)):
        assert time_of_day(NOW, NOW) == "4:02 p.m."
        assert exact(NOW) == "2026-01-31 16:02:03.123 +0200"


def test_exact():
    assert exact(NOW) == "2026-01-31 14:02:03.123 UTC"
