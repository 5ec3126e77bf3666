"""Runs calls as tasks of Django's task framework: `django.tasks` of Django 6, or its backport
`django_tasks`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from django import VERSION
from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError

from durable_monty.exceptions import ExecutorUnavailable
from durable_monty.executors.base import JobStatus
from durable_monty.executors.loading import options_of
from durable_monty.executors.remote import QueueExecutor, run_job
from durable_monty.models import Call

_PACKAGE = "django.tasks" if VERSION >= (6,) else "django_tasks"
tasks = import_module(_PACKAGE)
exceptions = import_module(f"{_PACKAGE}.exceptions")

logger = logging.getLogger("durable_monty")

# The names of errors of brokers' clients when a server cannot be reached. A backend may use any
# client, so their classes are not known here.
_AWAY = {"ConnectionError", "ConnectionInterrupted", "OperationalError", "TimeoutError"}


class DjangoTasksExecutor(QueueExecutor):
    """Enqueues calls on a backend of the setting `TASKS`, whose workers have the project.

    `queue` is by default the queue "default", or the backend's first one by name.
    """

    name = "django_tasks"

    def __init__(self, backend: str = "default", *, queue: str = "", prefetch: int = 100) -> None:
        super().__init__(prefetch=prefetch)
        self.backend = backend
        self.queue = queue or _queue_of(backend)
        self._task = _checked(lambda: run_call.using(backend=backend, queue_name=self.queue))
        # The backend's ids of results, by job id, the newest last.
        self._results: dict[str, str] = {}

    def enqueue_claimed(self, call: Call, job_id: str) -> None:
        assert call.claim is not None  # noqa: S101  (only claimed calls are submitted)
        with self._reaching():
            result = self._task.enqueue(call.pk, call.claim.hex, self.using)
        self._results[job_id] = str(result.id)
        while len(self._results) > 10 * self.prefetch:
            del self._results[next(iter(self._results))]

    def enqueue_function(
        self, call: Call, job_id: str, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        raise NotImplementedError("Tasks have Django, and so they run calls.")

    def is_queued(self, job_id: str) -> bool:
        # A backend that cannot tell loses nothing: a call that waits longer than its lease is
        # enqueued again, and the first of its tasks that starts runs it.
        backend = tasks.task_backends[self.backend]
        if job_id not in self._results or not backend.supports_get_result:
            return False
        try:
            with self._reaching():
                result = backend.get_result(self._results[job_id])
        except exceptions.TaskResultDoesNotExist:
            return False
        if result.status == tasks.TaskResultStatus.FAILED:
            error = result.errors[-1] if result.errors else None
            why = error.traceback.rstrip().rpartition("\n")[2] if error else "no reason is known"
            logger.error(
                "The task %s failed before it ran its call: does its worker have the project's "
                "settings and database? %s",
                result.id,
                why,
                extra={"job": job_id, "executor": self.name, "reason": why},
            )
        # A running task has started its attempt. If its worker died, it stays "running" for ever.
        return bool(result.status == tasks.TaskResultStatus.READY)

    def check_job(self, job_id: str) -> JobStatus:
        raise LookupError(job_id)  # tasks record the answers of their calls themselves

    def revoke_job(self, job_id: str) -> None:
        """Forgets the job. Django's tasks cannot be revoked, but this one has lost its claim."""
        self._results.pop(job_id, None)

    def get_stats(self) -> dict[str, Any]:
        return {"backend": self.backend, "queue": self.queue, "waiting": self.waiting}

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except Exception as exc:
            away = isinstance(exc, OSError | OperationalError | InterfaceError)
            if away or any(kind.__name__ in _AWAY for kind in type(exc).__mro__):
                raise ExecutorUnavailable(self.name, f"{type(exc).__name__}: {exc}") from exc
            raise


def _checked(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except exceptions.TaskException as exc:
        raise ImproperlyConfigured(
            f"The setting TASKS and the executor 'django_tasks' do not go together: {exc}"
        ) from exc


def _queue_of(backend: str) -> str:
    queues = tasks.task_backends[backend].queues
    return "default" if not queues or "default" in queues else min(queues)


def _as_task(function: Callable[..., None]) -> Any:
    """Makes a task. Its backend and queue must exist, although an executor enqueues it on its
    own."""
    options = options_of("django_tasks")
    backend = options.get("backend", "default")
    queue = options.get("queue") or _queue_of(backend)
    return _checked(lambda: tasks.task(backend=backend, queue_name=queue)(function))


@_as_task
def run_call(pk: int, token: str, using: str) -> None:
    run_job(pk, token, using)
