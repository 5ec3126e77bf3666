from __future__ import annotations

from datetime import datetime

from durable_monty.models import clock


class TurnClock:
    """Returns the time for a workflow: that of the database, but never before `read_last`, the
    time that it has read last.

    `now` is the database's time at `read_at`, which is by the monotonic clock of this process.
    """

    def __init__(self, now: datetime, read_at: float, read_last: datetime | None) -> None:
        self.now, self.read_at, self.read_last = now, read_at, read_last

    def __call__(self) -> datetime:
        now = self.now + clock.elapsed(self.read_at)
        self.read_last = max(now, self.read_last or now)
        return self.read_last
