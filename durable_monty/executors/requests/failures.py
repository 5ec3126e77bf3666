"""Failures of requests, and the job statuses that they become."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from durable_monty import conf
from durable_monty.executors.base import JobStatus, failed_job
from durable_monty.operations.exception_texts import message_of, traceback_of


class RequestFailed(Exception):
    """A service refused a request, or answered with an error.

    `error_type` is the name that the workflow sees. `is_final` rules out another attempt.
    `retry_after` is the number of seconds that the service asks to wait.
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

    @classmethod
    def too_large(cls, function: str) -> RequestFailed:
        """Returns the failure of a call whose result has more bytes than may be stored."""
        return cls(
            "TypeError",
            f"{function}() returned what cannot be stored: its response has more than "
            f"{conf.current().MAX_VALUE_BYTES:,} bytes (DURABLE_MONTY['MAX_VALUE_BYTES']).",
            is_final=True,
        )

    @property
    def job(self) -> JobStatus:
        return failed_job(
            self.error_type,
            self.message,
            self.traceback,
            is_final=self.is_final,
            retry_after=self.retry_after,
        )


def job_of_exception(exc: BaseException) -> JobStatus:
    """Returns the status of a job whose request raised `exc`."""
    if isinstance(exc, RequestFailed):
        return exc.job
    kind = type(exc)
    return failed_job(f"{kind.__module__}.{kind.__qualname__}", message_of(exc), traceback_of(exc))


def type_named(given: object) -> str:
    """Returns the error type that a service named, or RuntimeError if that is not a name."""
    is_name = isinstance(given, str) and all(map(str.isidentifier, given.split(".")))
    return str(given) if is_name else "RuntimeError"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds of the header Retry-After, which has a number or a date."""
    text = headers.get("retry-after", "")
    if text.isascii() and text.isdecimal():
        return float(text[:10])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
