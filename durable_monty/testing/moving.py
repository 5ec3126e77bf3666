"""Moves and stops the time of the database, for this process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from durable_monty.models import clock
from durable_monty.testing.played import aware

# SQLite's time has no more.
_UNIT = timedelta(milliseconds=1)


class MovedClock:
    """The clock of one test."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._before = clock.offset, clock.stopped

    @property
    def now(self) -> datetime:
        return clock.database_now(self._using)

    def move_to(self, moment: datetime) -> None:
        """Moves forward to a time, in whole milliseconds; not back, if it has passed."""
        ahead = moment - self.now
        if ahead > timedelta():
            clock.offset += -(-ahead // _UNIT) * _UNIT

    def stop(self, moment: datetime | None) -> datetime:
        """Stops at a time, by default at the present one, and returns it."""
        moment = self.now if moment is None else moment
        moment = aware(f"freeze({moment!r})", moment).astimezone(UTC)
        moment -= timedelta(microseconds=moment.microsecond % 1000)
        clock.offset, clock.stopped = timedelta(), moment
        return moment

    def restore(self) -> None:
        clock.offset, clock.stopped = self._before
