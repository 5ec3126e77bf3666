"""Which jobs Celery still has."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from celery import Celery
from kombu import Connection

from durable_monty import conf
from durable_monty.exceptions import ExecutorUnavailable
from durable_monty.executors.celery.connections import Broker

logger = logging.getLogger("durable_monty")

# Seconds for which Celery's workers may answer.
_ANSWERS = 1.0


@dataclass(slots=True)
class _Job:
    """Times of the monotonic clock: of sending it, or of the first question for a job that another
    process has sent; of the last question; of the last look that found it; of the first and the
    last look that did not, since then."""

    queue: str
    sent_at: float
    asked_at: float
    seen_at: float
    missing_since: float = 0.0
    missed_at: float = 0.0


class JobPresence:
    """Looks for jobs in queues and in Celery's workers, in a thread of its own. It looks only when
    it is asked for a job that it has not seen for a quarter of a lease, and then for all such jobs
    at once. A job that is not found for a lease is gone.

    Celery cannot search a queue. While anything waits in it, it may be any of our jobs, except
    those that were sent before one that has left it.
    """

    def __init__(self, app: Celery, poll: float) -> None:
        self._app, self._poll = app, poll
        self._broker = Broker(app)
        self._jobs: dict[str, _Job] = {}
        # When the newest of the jobs was sent that have left a queue.
        self._left: dict[str, float] = {}
        self._lock = threading.Lock()
        self._looking: threading.Thread | None = None

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
        """Whether the job is there, as far as is known. `queue_of` gives the queue of a job that
        another process has sent."""
        now, lease = time.monotonic(), conf.current().LEASE
        with self._lock:
            job = self._jobs.get(job_id) or self._note(job_id, queue_of(job_id))
            job.asked_at = now
            if now - max(job.seen_at, job.missed_at) > lease / 4:
                self._begin_to_look()
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

    def _begin_to_look(self) -> None:
        if self._looking is None or not self._looking.is_alive():
            self._looking = threading.Thread(
                target=self._look, name="durable_monty-celery-jobs", daemon=True
            )
            self._looking.start()

    def _look(self) -> None:
        began, lease = time.monotonic(), conf.current().LEASE
        with self._lock:
            # Nobody asks for jobs that have begun, in the mode "django", or ended.
            quiet = began - 2 * max(lease, self._poll)
            for job_id, job in [*self._jobs.items()]:
                if job.asked_at < quiet:
                    self._leave(job_id)
            unseen = {
                key: job for key, job in self._jobs.items() if began - job.seen_at > lease / 8
            }
            left = dict(self._left)
        try:
            lengths = {queue: self._length(queue) for queue in {j.queue for j in unseen.values()}}
            missing = {
                key
                for key, job in unseen.items()
                if not lengths[job.queue] or job.sent_at < left.get(job.queue, 0.0)
            }
            missing -= self._in_workers(missing) if missing else set()
        except ExecutorUnavailable as exc:
            logger.info("Celery was not asked for its jobs: %s", exc, extra={"reason": str(exc)})
            return
        with self._lock:
            for key, job in unseen.items():
                if key not in missing:
                    job.seen_at, job.missing_since = began, 0.0
                else:
                    job.missed_at = began
                    job.missing_since = job.missing_since or began

    def _length(self, queue: str) -> int:
        def count(connection: Connection) -> int:
            with connection.channel() as channel:
                try:
                    return int(channel.queue_declare(queue, passive=True).message_count)
                except connection.channel_errors as exc:
                    # Redis has no empty queues.
                    if str(getattr(exc, "reply_code", "")) == "404":
                        return 0
                    raise

        return self._broker.use(count)

    def _in_workers(self, job_ids: Collection[str]) -> set[str]:
        def ask(connection: Connection) -> set[str]:
            inspect = self._app.control.inspect(timeout=_ANSWERS, connection=connection)
            answers = inspect.query_task(*job_ids) or {}
            return {job_id for jobs in answers.values() for job_id in jobs}

        return self._broker.use(ask)
