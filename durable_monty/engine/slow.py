"""Turns that take long, and the turns of the same programs that wait for them."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Sequence

from durable_monty.engine.run import LiveRun, State

# So many slow turns of a program run side by side, or so many very slow ones. A turn has only so
# many seconds, and more of them would take each other's.
_SLOW_AT_ONCE, _VERY_SLOW_AT_ONCE = 4, os.cpu_count() or 1
# Seconds that a turn waits at most for the slow ones to end or to be known as very slow.
_ASIDE = 0.25


class SlowTurns:
    """Counts slow turns for each program. Any thread may call `put_aside`, only the worker's the
    other methods."""

    def __init__(self) -> None:
        self.stuck = 0  # turns that occupy threads of the worker's own
        self._slow: Counter[int] = Counter()  # of each program
        self._very_slow: Counter[int] = Counter()
        self._aside: deque[LiveRun] = deque()

    def __bool__(self) -> bool:
        return bool(self._slow or self._aside)

    @property
    def has_aside(self) -> bool:
        return bool(self._aside)

    def note(self, slow: Sequence[LiveRun]) -> list[LiveRun]:
        """Counts all runs that are slow now, and returns those that need not wait any more."""
        aside = self.take_aside()
        running = [run for run in slow if run not in aside]
        self.stuck = sum(run.lent is None for run in running)
        self._slow = Counter(run.execution.program_id for run in running)
        self._very_slow = Counter(
            run.execution.program_id for run in running if run.is_very_slow()
        )
        ready = [run for run in aside if not self.put_aside(run)]
        self._slow.update(run.execution.program_id for run in ready)
        return ready

    def put_aside(self, run: LiveRun) -> bool:
        """Returns whether a turn must wait: enough others of its program are slow."""
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
        run.state = State.ASIDE
        self._aside.append(run)
        return True

    def take_aside(self) -> list[LiveRun]:
        """Returns the runs that wait for others."""
        return [self._aside.popleft() for _ in range(len(self._aside))]
