"""Bounds durations, which are seconds, and adds them to moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

DAY = 86_400.0
LONGEST = 100 * 365 * DAY  # as long as `asyncio.sleep` may take
LONGEST_TEXT = f"{LONGEST:,.0f} seconds (100 years)"


def capped(seconds: float, most: float = LONGEST) -> float:
    """Returns `seconds` within 0 and `most`; 0 for NaN."""
    return min(max(0.0, seconds), most)


def later(moment: datetime, seconds: float) -> datetime:
    """Returns `moment` plus `seconds`, whatever number a row or an exception holds."""
    try:
        return moment + timedelta(seconds=capped(seconds))
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) - timedelta(days=1)  # any time zone can show it
