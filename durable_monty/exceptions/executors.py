"""Errors of workers, of executors, of their jobs and of the requests that they send."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from durable_monty.exceptions.base import DurableMontyError
from durable_monty.exceptions.functions import NonRetryable


class JobNotFound(DurableMontyError, LookupError):
    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        # It may come from a request, in any length.
        super().__init__(f"No call has the job {job_id[:200]!r}.")


class JobLost(DurableMontyError, LookupError):
    """Raised by an executor for a job that began and cannot end, because its process died."""

    def __init__(self, job_id: str, why: str) -> None:
        self.job_id = job_id
        super().__init__(f"The job {job_id} is lost: {why}")


class UrlNotAllowed(NonRetryable, ValueError):
    def __init__(self, url: str, why: str) -> None:
        self.url, self.why = url, why
        # A workflow may have passed it, in any length.
        super().__init__(f"The URL {url[:200]!r} is not allowed: {why}")


class UrlMissing(NonRetryable):
    def __init__(self, function: str) -> None:
        self.function = function
        super().__init__(
            f"There is no URL for {function}(). Register it with url='https://...', or give the "
            "executor 'http' the option urls or base_url."
        )


class CallbackMissing(NonRetryable):
    def __init__(self, function: str, executor: str) -> None:
        self.function, self.executor = function, executor
        super().__init__(
            f"{function}() was accepted, to be answered later, and nothing was told where. Give "
            f"the executor {executor!r} the option callback_base_url."
        )


class RequestTooLarge(NonRetryable):
    def __init__(self, function: str, size: int, limit: int) -> None:
        self.function, self.size, self.limit = function, size, limit
        super().__init__(
            f"The request for {function}() has {size:,} bytes; at most {limit:,} can be sent. "
            "Hand over where the data is, instead of the data."
        )


class ExecutorUnavailable(DurableMontyError):
    """Raised by an executor that cannot reach its engine now. The call is submitted again."""

    def __init__(self, executor: str, why: object) -> None:
        self.executor = executor
        super().__init__(f"The executor {executor!r} cannot reach its engine: {why}")


class JobsVanished(DurableMontyError):
    """An engine lost several jobs of one call before any of them began."""

    def __init__(self, count: int, task: str, queue: str) -> None:
        self.count, self.task, self.queue = count, task, queue
        super().__init__(
            f"The engine lost {count} jobs of this call before they began. Do the workers of the "
            f"queue {queue!r} have the task {task!r}?"
        )


class ClusterNotStarted(DurableMontyError):
    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"The django-q2 cluster did not start: {why}.")


class DatabaseNotMigrated(DurableMontyError):
    def __init__(self, using: str, missing: Iterable[Any]) -> None:
        self.using, self.missing = using, tuple(missing)
        option = "" if using == "default" else f" --database={using}"
        super().__init__(
            f"The database {using!r} is not migrated ({', '.join(map(str, self.missing))}). "
            f"Run: manage.py migrate{option}"
        )


class NoWorkerAlive(DurableMontyError):
    def __init__(self) -> None:
        super().__init__("No worker is alive. Start one with “manage.py runworker”.")
