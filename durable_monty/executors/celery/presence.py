"""Finds out which jobs Celery still has."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from celery import Celery

from durable_monty import conf
from durable_monty.exceptions import ExecutorUnavailable
from durable_monty.executors.celery.connections import Broker
from durable_monty.executors.thread_pool import keep_running

logger = logging.getLogger("durable_monty")


@dataclass(slots=True)
class _Job:
    """A job, with times of the monotonic clock."""

    queue: str
    sent_at: float  # by this process; otherwise the time of the first question for it
    queried_at: float  # the last question for it
    seen_at: float  # the last search that found it
    missing_since: float = 0.0  # the first search after that, which did not
    missed_at: float = 0.0  # the last search that did not


class JobPresence:
    """Searches for jobs in queues and in Celery's workers, in a thread.

    A question for a job that was not seen for a quarter of a lease starts a search, for all such
    jobs at once. A job that is not found for a lease is gone.

    Celery cannot search a queue. Any message in it may be any of our jobs, except those that were
    sent before a job that has left the queue.
    """

    def __init__(self, app: Celery, poll: float) -> None:
        self._poll = poll
        self._broker = Broker(app)
        self._jobs: dict[str, _Job] = {}
        # By queue: the time when the newest of the jobs that left it was sent.
        self._left: dict[str, float] = {}
        self._lock = threading.Lock()
        self._searching: threading.Thread | None = None

    def sent(self, job_id: str, queue: str) -> None:
        with self._lock:
            self._note(job_id, queue)

    def ended(self, job_id: str) -> None:
        with self._lock:
            self._leave(job_id)

    def revoked(self, job_id: str) -> None:
        """Forgets a job, which may still be in its queue."""
        with self._lock:
            self._jobs.pop(job_id, None)

    def has(self, job_id: str, queue_of: Callable[[str], str]) -> bool:
        """Returns whether the job is still there, as far as is known. `queue_of` returns the queue
        of a job that another process has sent."""
        now, lease = time.monotonic(), conf.current().LEASE
        with self._lock:
            job = self._jobs.get(job_id) or self._note(job_id, queue_of(job_id))
            job.queried_at = now
            if now - max(job.seen_at, job.missed_at) > lease / 4:
                self._searching = keep_running(
                    self._searching, self._search, "durable_monty-celery-jobs"
                )
            return not job.missing_since or job.missed_at - job.missing_since < lease

    def close(self) -> None:
        self._broker.close()

    def _note(self, job_id: str, queue: str) -> _Job:
        now = time.monotonic()
        self._jobs[job_id] = job = _Job(queue, now, now, now)
        return job

    def _leave(self, job_id: str) -> None:
        job = self._jobs.pop(job_id, None)
        if job is not None and not job.missing_since:
            self._left[job.queue] = max(self._left.get(job.queue, 0.0), job.sent_at)

    def _search(self) -> None:
        began, lease = time.monotonic(), conf.current().LEASE
        with self._lock:
            # Questions stop when a job has ended and, in the mode "django", when it has started.
            quiet = began - 2 * max(lease, self._poll)
            for job_id, job in [*self._jobs.items()]:
                if job.queried_at < quiet:
                    self._leave(job_id)
            unseen = {
                key: job for key, job in self._jobs.items() if began - job.seen_at > lease / 8
            }
            left = dict(self._left)
        try:
            queues = {job.queue for job in unseen.values()}
            lengths = {queue: self._broker.length(queue) for queue in queues}
            missing = {
                key
                for key, job in unseen.items()
                if not lengths[job.queue] or job.sent_at < left.get(job.queue, 0.0)
            }
            missing -= self._broker.in_workers(missing) if missing else set()
        except ExecutorUnavailable as exc:
            logger.info("Celery's jobs were not checked: %s", exc, extra={"reason": str(exc)})
            return
        with self._lock:
            for key, job in unseen.items():
                if key not in missing:
                    job.seen_at, job.missing_since = began, 0.0
                else:
                    job.missed_at = began
                    job.missing_since = job.missing_since or began
