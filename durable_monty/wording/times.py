"""Moments and durations as text, in the active language."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.utils import formats, timezone
from django.utils.translation import gettext as _


def span(duration: timedelta) -> str:
    """Returns `340 ms`, `4.2 s`, `42 s`, `3 min`, `2 h 5 min` or `4 d 1 h`."""
    seconds = max(0.0, duration.total_seconds())
    if seconds < 1:
        return _("%(count)d ms") % {"count": int(seconds * 1000)}
    if seconds < 10:
        # Django's number format cuts digits off, it does not round.
        number = formats.number_format(round(seconds, 1), 1, use_l10n=True)
        return _("%(count)s s") % {"count": number}
    minutes, rest = divmod(int(seconds), 60)
    if not minutes:
        return _("%(count)s s") % {"count": rest}
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, _("%(count)d d")), (hours, _("%(count)d h")), (minutes, _("%(count)d min"))]
    # Columns are narrow: a number with its unit, and the next smaller one.
    first = next(at for at, (number, _unit) in enumerate(parts) if number)
    return " ".join(
        unit % {"count": number} for number, unit in parts[first : first + 2] if number
    )


def ago(moment: datetime, now: datetime) -> str:
    """Returns `3 min ago`, `in 4.2 s`, or `just now` within the second."""
    past = now - moment
    if abs(past) < timedelta(seconds=1):
        return _("just now")
    if past > timedelta():
        return _("%(span)s ago") % {"span": span(past)}
    return _("in %(span)s") % {"span": span(-past)}


def time_of_day(moment: datetime, now: datetime) -> str:
    """Returns `2:02 p.m.`, with the date if it is not today."""
    local = timezone.localtime(moment)
    today = local.date() == timezone.localtime(now).date()
    return formats.date_format(local, "TIME_FORMAT" if today else "DATETIME_FORMAT")


def exact(moment: datetime) -> str:
    """Returns `2026-01-31 14:02:03.123 UTC`, in the active time zone."""
    local = timezone.localtime(moment)
    return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03} {local:%Z}"


def stamp(moment: datetime, now: datetime) -> str:
    """Returns `2026-01-31T14:02:03Z (3 min ago)`."""
    # Operators compare it with their logs, which are in UTC.
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} ({ago(moment, now)})"


@dataclass(frozen=True, slots=True)
class MomentStyle:
    """How a sentence writes a moment: as a time of the clock, or relative to now."""

    at: Callable[[datetime, datetime], str]
    relative: Callable[[datetime, datetime], str]


SHORT = MomentStyle(time_of_day, ago)
PRECISE = MomentStyle(stamp, stamp)
