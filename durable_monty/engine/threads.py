"""The threads that run turns, and what keeps slow turns from delaying others."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from durable_monty.engine.run import LiveRun, State

# More gain nothing on two cores: a turn waits for another process.
_THREADS, _NAME = 4, "durable_monty-turn"
# So many slow turns of a program run side by side, or so many very slow ones. A turn has only so
# many seconds, and more of them would take each other's.
_SLOW_AT_ONCE, _VERY_SLOW_AT_ONCE = 4, os.cpu_count() or 1
# Seconds that a turn waits at most for the slow ones to end or to be known as very slow.
_ASIDE = 0.25


class TurnThreads:
    """Calls `advance` in a thread for each run that is ready.

    Any thread may call `put_aside`, only the worker's the other methods.
    """

    def __init__(self, advance: Callable[[LiveRun], object]) -> None:
        self._advance = advance
        self._threads: ThreadPoolExecutor | None = None
        self._ready: deque[LiveRun] = deque()
        self._aside: deque[LiveRun] = deque()
        self._stuck = 0  # slow turns that occupy threads of this object
        self._slow: Counter[int] = Counter()  # by program
        self._very_slow: Counter[int] = Counter()

    @property
    def has_slow(self) -> bool:
        return bool(self._slow or self._aside)

    @property
    def has_aside(self) -> bool:
        return bool(self._aside)

    def begin(self, runs: Sequence[LiveRun]) -> None:
        ready = [run for run in runs if not self.put_aside(run)]
        self._ready.extend(ready)
        if self._stuck >= _THREADS:
            self._relieve()
            return
        for _ in ready[:_THREADS]:
            self._threads = self._threads or ThreadPoolExecutor(_THREADS, _NAME)
            self._threads.submit(self._work)

    def put_aside(self, run: LiveRun) -> bool:
        """Returns whether a turn must wait: enough others of its program are slow."""
        if run.is_parking:
            return False
        if not self.has_slow:
            run.aside_since = 0.0
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
        """Returns the runs that wait for slow ones."""
        return [self._aside.popleft() for _ in range(len(self._aside))]

    def make_way(self, slow: Sequence[LiveRun]) -> None:
        """Counts all runs that are slow now, and begins turns that wait behind them."""
        aside = self.take_aside()
        running = [run for run in slow if run not in aside]
        self._stuck = sum(run.lent is None for run in running)
        self._slow = Counter(run.execution.program_id for run in running)
        self._very_slow = Counter(
            run.execution.program_id for run in running if run.is_very_slow()
        )
        free = [run for run in aside if not self.put_aside(run)]
        self._slow.update(run.execution.program_id for run in free)
        for run in free:
            _start(partial(self._advance, run))
        ready = [self._ready.popleft() for _ in range(len(self._ready))]
        self._ready.extend(run for run in ready if not self.put_aside(run))
        if self._stuck:
            self._relieve()

    def close(self) -> None:
        """Ends the threads, when their turns have ended. They start again with the next turn."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown()

    def _relieve(self) -> None:
        """Runs the turns that are ready in other threads than those that are stuck."""
        for _ in range(min(len(self._ready), max(_THREADS, self._stuck))):
            _start(self._work)

    def _work(self) -> None:
        """Runs all turns that are ready: to give each to a thread costs as much as a turn."""
        while True:
            try:
                run = self._ready.popleft()
            except IndexError:
                return
            self._advance(run)


def _start(work: Callable[[], object]) -> None:
    # A daemon: a turn that takes long must not keep the process from ending.
    threading.Thread(target=work, name=_NAME, daemon=True).start()
