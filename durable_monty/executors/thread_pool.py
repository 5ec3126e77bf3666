from __future__ import annotations

import itertools
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from django.conf import settings
from django.db import connections, reset_queries

logger = logging.getLogger("durable_monty")

# A job may return another one, which the same thread does next if no job waits.
Job = Callable[[], "Job | None"]


class ThreadPool:
    """Runs jobs in `size` threads, which start with the first job.

    Its threads are daemons: a function that never ends must not keep the process from ending. The
    threads of `concurrent.futures` do that, and are not replaced when they die.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.executed = 0
        # Seconds that a job takes, as a moving average.
        self.typical_seconds = math.inf
        self._busy = 0
        self._has_started = False
        self._threads: list[threading.Thread] = []
        self._numbers = itertools.count()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()

    @property
    def load(self) -> int:
        """The number of jobs that run or wait."""
        return self._busy + self._jobs.qsize()

    @property
    def is_dead(self) -> bool:
        return self._has_started and not any(thread.is_alive() for thread in self._threads)

    def put(self, job: Job) -> None:
        with self._lock:
            if not self._threads:
                self._start_missing()
        self._jobs.put(job)

    def replace_dead(self) -> None:
        # Any library may raise something in a thread of the process.
        if self._has_started:
            with self._lock:
                self._start_missing()

    def replace(self, busy: threading.Thread) -> None:
        """Starts another thread in place of `busy`, which ends after its job."""
        with self._lock:
            if busy in self._threads:
                self._threads.remove(busy)
                self._start_missing()

    def stop(self, timeout: float) -> bool:
        """Runs the jobs that wait, for at most `timeout` seconds. Returns whether all threads have
        ended."""
        deadline = time.monotonic() + timeout
        for _thread in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        return not self._threads

    def take_waiting(self) -> Iterator[Job]:
        """Removes the jobs that no thread has started."""
        with suppress(queue.Empty):
            while True:
                if (job := self._jobs.get_nowait()) is not None:
                    yield job

    def _start_missing(self) -> None:
        self._has_started = True
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        while len(self._threads) < self.size:
            thread = threading.Thread(
                target=self._work, name=f"durable_monty-{next(self._numbers)}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as exc:  # the system has no more; `replace_dead` tries again
                logger.warning("thread not started: %s", exc)
                return
            self._threads.append(thread)

    def _work(self) -> None:
        try:
            while True:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    # The threads live on. CONN_MAX_AGE holds for them as between requests.
                    for connection in connections.all(initialized_only=True):
                        connection.close_if_unusable_or_obsolete()
                    job = self._jobs.get()
                if job is None:
                    return
                following = self._run(job)
                while following and self._is_current and self._jobs.empty():
                    following = self._run(following)
                if following:
                    self.put(following)
                if not self._is_current:
                    return  # another thread has replaced this one
        finally:
            connections.close_all()

    @property
    def _is_current(self) -> bool:
        return threading.current_thread() in self._threads

    def _run(self, job: Job) -> Job | None:
        with self._lock:
            self._busy += 1
        started = time.monotonic()
        try:
            return job()
        except BaseException:
            logger.exception("call failed")
            return None
        finally:
            if settings.DEBUG:
                reset_queries()
            seconds = time.monotonic() - started
            with self._lock:
                self._busy -= 1
                self.executed += 1
                before = seconds if math.isinf(self.typical_seconds) else self.typical_seconds
                self.typical_seconds = 0.8 * before + 0.2 * seconds


def keep_running(
    thread: threading.Thread | None, target: Callable[[], None], name: str
) -> threading.Thread:
    """Returns `thread` if it is alive, or else a new daemon thread that runs `target`."""
    if thread is None or not thread.is_alive():
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
    return thread
