"""Turns that take long: how they are known, and who waits for them."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Sequence

from durable_monty.engine.run import Run

# A turn that takes longer is slow: it is not waited for, and another thread takes the place of
# the one that runs it. On a busy machine any turn may be. One that then works for so long is very
# slow. Others of its program wait at most so long to know.
SLOW = 0.05
_WORKED, _ASIDE = 0.02, 0.25
# So many slow turns of a program run side by side, or so many very slow ones: a turn has only so
# many seconds, and they would take them from each other.
_SLOW_AT_ONCE, _VERY_SLOW_AT_ONCE = 4, os.cpu_count() or 1


class SlowTurns:
    """Its `put_aside` is for any thread, its other methods for the worker's."""

    def __init__(self) -> None:
        self.stuck = 0  # turns that occupy threads of the worker's own
        self._slow: Counter[int] = Counter()  # of each program
        self._very_slow: Counter[int] = Counter()
        self._aside: deque[Run] = deque()

    def __bool__(self) -> bool:
        return bool(self._slow or self._aside)

    @property
    def has_aside(self) -> bool:
        return bool(self._aside)

    def note(self, slow: Sequence[Run]) -> list[Run]:
        """`slow`: all that are slow now. Gives those that have waited for others long enough."""
        aside = self.take_aside()
        running = [run for run in slow if run not in aside]
        self.stuck = sum(run.lent is None for run in running)
        self._slow = Counter(run.execution.program_id for run in running)
        self._very_slow = Counter(
            run.execution.program_id for run in running if run.is_very_slow(_WORKED)
        )
        ready = [run for run in aside if not self.put_aside(run)]
        self._slow.update(run.execution.program_id for run in ready)
        return ready

    def put_aside(self, run: Run) -> bool:
        """Whether its turn must wait: enough others of its program take long, or may."""
        if run.is_parking:
            return False
        program, now = run.execution.program_id, time.monotonic()
        run.aside_since = run.aside_since or now
        may_wait = now - run.aside_since < _ASIDE
        if self._very_slow[program] < _VERY_SLOW_AT_ONCE and not (
            may_wait and self._slow[program] >= _SLOW_AT_ONCE
        ):
            run.aside_since = 0.0
            return False
        run.is_slow = True
        self._aside.append(run)
        return True

    def take_aside(self) -> list[Run]:
        """What waits for others."""
        return [self._aside.popleft() for _ in range(len(self._aside))]
