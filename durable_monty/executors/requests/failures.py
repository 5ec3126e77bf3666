"""What went wrong with a request, as the end of its job."""

from __future__ import annotations

from durable_monty.executors.base import JobStatus
from durable_monty.operations.exception_texts import message_of, traceback_of


class RequestFailed(Exception):
    """A request came to an error that is not one of ours.

    `error_type`: the name that the workflow sees. `is_final`: trying again is of no use.
    `retry_after`: the seconds that the service asks to wait.
    """

    def __init__(
        self,
        error_type: str,
        message: str,
        *,
        traceback: str = "",
        is_final: bool = False,
        retry_after: float | None = None,
    ) -> None:
        self.error_type, self.message, self.traceback = error_type, message, traceback
        self.is_final, self.retry_after = is_final, retry_after
        super().__init__(f"{error_type}: {message}")


def failed(exc: BaseException) -> JobStatus:
    """The end of a job that raised."""
    if isinstance(exc, RequestFailed):
        job: JobStatus = {
            "status": "failed",
            "error": exc.message,
            "error_type": exc.error_type,
            "traceback": exc.traceback,
            "is_final": exc.is_final,
        }
        if exc.retry_after is not None:
            job["retry_after"] = exc.retry_after
        return job
    kind = type(exc)
    return {
        "status": "failed",
        "error": message_of(exc),
        "error_type": f"{kind.__module__}.{kind.__qualname__}",
        "traceback": traceback_of(exc),
    }


def type_named(given: object) -> str:
    """The name of an error's type, as a service gives it; what is none becomes RuntimeError."""
    is_name = isinstance(given, str) and all(map(str.isidentifier, given.split(".")))
    return str(given) if is_name else "RuntimeError"
