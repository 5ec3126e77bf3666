from __future__ import annotations

import time
from typing import TypeVar

T = TypeVar("T")

# Seconds between attempts to write to executions that other transactions have locked.
BLOCKED_PAUSE = 0.05


class Blocked(list[T]):
    """What cannot be written yet, because other transactions have locked the executions."""

    def __init__(self) -> None:
        super().__init__()
        self._again_at = 0.0

    def take(self, *, now: bool = False) -> list[T]:
        """Empties the list and returns what was in it, if it is time to try again."""
        if not self or (not now and time.monotonic() < self._again_at):
            return []
        self._again_at = time.monotonic() + BLOCKED_PAUSE
        taken = self[:]
        self.clear()
        return taken
