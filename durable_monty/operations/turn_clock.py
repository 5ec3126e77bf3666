from __future__ import annotations

import time
from datetime import datetime, timedelta


class TurnClock:
    """The time a workflow reads: the database's, and never before what it has read already.

    `now` is what the database said at `read_at` of this process's monotonic clock.
    """

    def __init__(self, now: datetime, read_at: float, read_last: datetime | None) -> None:
        self.now, self.read_at, self.read_last = now, read_at, read_last

    def __call__(self) -> datetime:
        now = self.now + timedelta(seconds=time.monotonic() - self.read_at)
        self.read_last = max(now, self.read_last or now)
        return self.read_last
