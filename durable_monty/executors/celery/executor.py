from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from celery import Celery
from django.core.exceptions import ImproperlyConfigured
from kombu.utils.imports import symbol_by_name

from durable_monty.exceptions import JobLost, JobsVanished
from durable_monty.executors.base import JobStatus
from durable_monty.executors.celery.connections import Broker
from durable_monty.executors.celery.presence import JobPresence
from durable_monty.executors.celery.results import (
    Listener,
    Meta,
    Results,
    is_end,
    is_lost,
    job_status,
    results_of,
)
from durable_monty.executors.remote import Mode, QueueExecutor
from durable_monty.executors.result_mode import check_plain_json
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.models import Call

RUN_CALL = "durable_monty.run_call"

# So many jobs of a call in a row may vanish before they start. Then the call fails.
_MAX_VANISHED = 3


class CeleryExecutor(QueueExecutor):
    """Runs calls in the workers of a Celery app.

    `app` is the app or its dotted path, "shop.celery:app". Without it, `broker` and `backend` are
    the URLs of an app of its own. All calls go to `queue`, or else as the app routes them. With
    `mode="django"` Celery's workers have Django and run the task `durable_monty.run_call`. With
    `mode="result"` they have tasks that are named as the functions' dotted paths, and the app has
    a result backend.
    """

    name = "celery"

    def __init__(
        self,
        app: Celery | str | None = None,
        *,
        broker: str = "",
        backend: str = "",
        queue: str = "",
        mode: Mode = "django",
        prefetch: int = 100,
        poll: float = 5.0,
    ) -> None:
        super().__init__(mode=mode, prefetch=prefetch, poll=poll)
        self.app, self.queue = _app(app, broker, backend), queue
        self._broker = Broker(self.app)
        self._presence = JobPresence(self.app, poll)
        self._results: Results | None = None
        self._listener: Listener | None = None
        self._functions: dict[str, str] = {}
        self._lost: set[str] = set()
        self._vanished: dict[int, set[str]] = {}

    def start(self, using: str, worker_id: int | None) -> None:
        super().start(using, worker_id)
        if self.mode == "django":
            return
        self._results = results_of(self.app, using)
        if self._results is None:
            raise ImproperlyConfigured(
                "CeleryExecutor(mode='result') needs a result backend: set result_backend in the "
                f"Celery app {self.app.main!r}."
            )
        if self._results.notifies:
            self._listener = Listener(self._results, self._receive, using)

    def stop(self, timeout: float) -> bool:
        """Closes the connections. Jobs go on, and the next worker checks them."""
        if self._listener is not None:
            self._listener.stop(timeout)
        self._broker.close()
        self._presence.close()
        return True

    def enqueue_claimed(self, call: Call, job_id: str) -> None:
        assert call.claim is not None  # noqa: S101  (only claimed calls are submitted)
        if len(self._vanished.get(call.pk, ())) >= _MAX_VANISHED:
            del self._vanished[call.pk]
            raise JobsVanished(_MAX_VANISHED, RUN_CALL, self._queue_of(RUN_CALL))
        args = (call.pk, call.claim.hex, self.using)
        queue = self._broker.send_task(
            job_id, RUN_CALL, args, {}, queue=self.queue, ignore_result=True
        )
        self._presence.sent(job_id, queue)

    def enqueue_function(
        self, call: Call, job_id: str, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        assert self._results is not None  # noqa: S101  (set by `start`)
        check_plain_json(call.function, args, kwargs)
        self._functions[job_id] = call.function
        queue = self._broker.send_task(
            job_id, path, args, kwargs, queue=self.queue, reply_to=self._results.reply_to
        )
        self._presence.sent(job_id, queue)

    def is_queued(self, job_id: str) -> bool:
        if self._presence.has(job_id, lambda _job_id: self._queue_of(RUN_CALL)):
            return True
        if len(self._vanished) >= self.prefetch:
            self._vanished.clear()
        self._vanished.setdefault(int(job_id.partition("-")[0]), set()).add(job_id)
        return False

    def check_job(self, job_id: str) -> JobStatus:
        assert self._results is not None  # noqa: S101  (set by `start`)

        def queue_of(job_id: str) -> str:
            # Another process has sent the job, so its queue is that of its call's function.
            calls = Call.objects.using(self.using).filter(pk=job_id.partition("-")[0])
            entry = FUNCTION_REGISTRY.get(calls.values_list("function", flat=True).first() or "")
            return self._queue_of("" if entry is None else entry.place)

        meta = self._results.find(job_id)
        if meta is not None and is_end(meta):
            return self._status_of(job_id, meta)
        if job_id not in self._lost and self._presence.has(job_id, queue_of):
            return {"status": "queued" if meta is None else "started"}
        self._forget(job_id)
        raise JobLost(job_id, "it is in no queue and in no Celery worker.")

    def revoke_job(self, job_id: str) -> None:
        """Tells the Celery workers that run now to skip the job. A started function goes on."""
        self._presence.revoked(job_id)
        self._functions.pop(job_id, None)
        revoke = self.app.control.revoke
        self._broker.use(lambda connection: revoke(job_id, connection=connection))

    def forget_job(self, job_id: str) -> None:
        if self._results is not None:
            self._results.forget(job_id)

    def get_stats(self) -> dict[str, Any]:
        return {"mode": self.mode, "queue": self.queue, "waiting": self.waiting}

    def _receive(self, job_id: str, meta: Meta) -> None:
        assert self._results is not None  # noqa: S101  (set by `start`)
        # All workers receive a published result, but only one receives a reply.
        is_ours = job_id in self._functions or bool(self._results.reply_to)
        if not (is_end(meta) and is_ours):
            return
        try:
            self.deliver(job_id, self._status_of(job_id, meta))
        except JobLost:
            self._lost.add(job_id)  # `check_job` raises it again, in a thread of the worker

    def _status_of(self, job_id: str, meta: Meta) -> JobStatus:
        """Returns how a job ended, and forgets the job. Raises `JobLost` if its process died."""
        function = self._forget(job_id)
        if is_lost(meta):
            raise JobLost(job_id, "its process died, or could not store what it returned.")
        return job_status(meta, function)

    def _forget(self, job_id: str) -> str:
        self._presence.ended(job_id)
        self._lost.discard(job_id)
        return self._functions.pop(job_id, "the function")

    def _queue_of(self, task: str) -> str:
        return self.queue or self._broker.queue_of(task)


def _app(app: Celery | str | None, broker: str, backend: str) -> Celery:
    if (app is None) is not bool(broker):
        raise ValueError("give either app or broker, and backend only beside broker")
    if app is None:
        app = Celery("durable_monty", broker=broker, backend=backend or None, set_as_current=False)
    if isinstance(app, str):
        try:
            app = symbol_by_name(app)
        except (ImportError, AttributeError) as exc:
            raise ImproperlyConfigured(
                f"CeleryExecutor(app={app!r}): there is no such Celery app ({exc})."
            ) from exc
    if not isinstance(app, Celery):
        raise TypeError(f"app is {app!r}; it must be a Celery app or its dotted path")
    return app
