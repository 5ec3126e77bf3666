"""The thread of an executor whose methods may block."""

from __future__ import annotations

import threading

from django.conf import settings
from django.db import connections, reset_queries

from durable_monty.engine.jobs import FULL_INTERVAL, JOB_INTERVAL, Jobs
from durable_monty.loop_errors import LoopErrors


class JobThread:
    """Works for an executor whose methods may block, so that only its own calls wait for it."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._came, self._stopping = threading.Event(), False
        jobs.executor.job_ended = self.wake
        self._thread = threading.Thread(
            target=self._work, name=f"durable_monty-jobs-{jobs.executor.name}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Makes the thread do its work now."""
        self._came.set()

    def stop(self, timeout: float) -> bool:
        """Waits at most `timeout` seconds for the thread, and returns whether it has ended."""
        self._stopping = True
        self._came.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        errors = LoopErrors(
            f"Looking after the jobs of {self._jobs.executor.name}", self._jobs.using
        )
        try:
            while not self._stopping:
                self._came.clear()
                try:
                    worked = True
                    while worked and not self._stopping:
                        if settings.DEBUG:
                            reset_queries()
                        self._jobs.tend()
                        worked = bool(self._jobs.submit() + self._jobs.check())
                except Exception as exc:  # noqa: BLE001  (noted)
                    self._came.wait(errors.note(exc))
                else:
                    self._came.wait(FULL_INTERVAL if self._jobs.is_full else JOB_INTERVAL)
        finally:
            connections.close_all()
