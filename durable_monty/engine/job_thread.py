"""The thread of an executor whose methods may block."""

from __future__ import annotations

import threading

from django.conf import settings
from django.db import connections, reset_queries

from durable_monty.engine.jobs import FULL_INTERVAL, JOB_INTERVAL, Jobs
from durable_monty.loop_errors import LoopErrors


class JobThread(threading.Thread):
    """Works for one executor, so that only the calls of this executor wait when it blocks."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__(name=f"durable_monty-jobs-{jobs.executor.name}", daemon=True)
        self._jobs = jobs
        self._came, self._stopping = threading.Event(), False
        jobs.executor.job_ended = self.wake

    def wake(self) -> None:
        """Makes the thread do its work now."""
        self._came.set()

    def stop(self, timeout: float) -> None:
        """Ends the thread after its current step, and waits at most `timeout` seconds for it."""
        self._stopping = True
        self._came.set()
        self.join(timeout)

    def run(self) -> None:
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
