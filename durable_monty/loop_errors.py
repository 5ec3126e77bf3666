"""Error handling for loops that end only when they are stopped."""

from __future__ import annotations

import logging
import math
import time
from contextlib import suppress

from django.db import connections

logger = logging.getLogger("durable_monty")

# Seconds.
_FIRST_PAUSE, _MAX_PAUSE = 0.1, 5.0
# After so many seconds without an error the next one counts as a new one.
_CALM = 30.0


class LoopErrors:
    """Logs the errors of a loop, and computes the pause before its next round.

    The first error of a kind is an ERROR record with its traceback. The same kind again is a
    WARNING, and each pause is about twice as long as the one before, up to 5 seconds.
    """

    def __init__(self, what: str, using: str) -> None:
        """Takes the subject of the logged sentence: `what` failed."""
        self._what, self._using = what, using
        self._kind: type[Exception] | None = None
        self._at = -math.inf
        self._pause = 0.0

    def note(self, exc: Exception) -> float:
        """Logs an error and closes this thread's connection. Returns the seconds to wait."""
        now = time.monotonic()
        is_new = type(exc) is not self._kind or now - self._at > _CALM + self._pause
        self._pause = _FIRST_PAUSE if is_new else min(_MAX_PAUSE, 2 * self._pause)
        self._kind, self._at = type(exc), now
        logger.log(
            logging.ERROR if is_new else logging.WARNING,
            "%s failed and will be tried again in %.1f s: %s: %s",
            self._what,
            self._pause,
            type(exc).__name__,
            exc,
            exc_info=exc if is_new else None,
            extra={"reason": str(exc), "pause": self._pause},
        )
        # It may be broken, or in the middle of a transaction.
        with suppress(Exception):
            connections[self._using].close()
        return self._pause
