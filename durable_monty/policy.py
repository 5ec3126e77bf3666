"""How the calls of a function are run: by which executor, how often, and for how long."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields

from durable_monty import conf
from durable_monty.durations import LONGEST, LONGEST_TEXT, capped
from durable_monty.exceptions import FunctionError, NonRetryable, RetryAfter, WrongArgument

# The longest time that RetryAfter may ask for. A server that gives the time of day instead of a
# delay must not put a call off for years.
MAX_RETRY_AFTER = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Says when the calls of a function are tried again. Times are seconds.

    The n-th retry waits `initial * backoff ** (n - 1)`, at most `max_interval`, give or take the
    share `jitter` of it, so that calls which failed together do not come back together. Only
    exceptions of `retry_on` are retried, and none of `non_retryable`. A lost worker does not
    spend `max_attempts`: nobody knows how far the function came.
    """

    max_attempts: int = 1
    initial: float = 1.0
    backoff: float = 2.0
    max_interval: float = 300.0
    jitter: float = 0.1
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    non_retryable: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        if not self.max_attempts >= 1:  # nor NaN
            raise FunctionError(f"Retry: max_attempts is {self.max_attempts}; it must be >= 1.")
        are_possible = 0 <= self.initial <= LONGEST and 0 <= self.max_interval <= LONGEST
        if not are_possible or not 1 <= self.backoff <= 1000:
            raise FunctionError(
                f"Retry: initial and max_interval must be from 0 to {LONGEST_TEXT}, and backoff "
                "from 1 to 1,000."
            )
        if not 0 <= self.jitter <= 1:
            raise FunctionError(f"Retry: jitter is {self.jitter}; it must be between 0 and 1.")
        for name in ("retry_on", "non_retryable"):
            if not _are_exceptions(getattr(self, name)):
                raise FunctionError(f"Retry: {name} must be a tuple of exception classes.")

    def wait(self, exc: BaseException, failures: int) -> float | None:
        """Returns the seconds until the next attempt, after so many failures; None: no more."""
        kind = type(exc)  # not isinstance(): that asks `exc` for its class
        retry_after = getattr(exc, "seconds", 0.0) if issubclass(kind, RetryAfter) else None
        return self.wait_after(kind, failures, retry_after)

    def wait_after(
        self, kind: type[BaseException], failures: int, retry_after: float | None = None
    ) -> float | None:
        """Returns the same for a class. `retry_after`: the seconds that a service asked for."""
        if (
            issubclass(kind, NonRetryable | SystemExit | WrongArgument)
            or failures >= self.max_attempts
        ):
            return None
        if retry_after is not None:
            return capped(retry_after, MAX_RETRY_AFTER)
        if issubclass(kind, self.non_retryable) or not issubclass(kind, self.retry_on):
            return None
        # The exponent is bounded: 2.0 ** 1024 overflows.
        seconds = min(self.max_interval, self.initial * self.backoff ** min(failures - 1, 60))
        return max(0.0, seconds * random.uniform(1 - self.jitter, 1 + self.jitter))


def _are_exceptions(kinds: object) -> bool:
    return isinstance(kinds, tuple) and all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds
    )


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits the time of calls, in seconds; None for no limit.

    `schedule_to_start`: from when it may start until it does. `start_to_close`: one attempt.
    `heartbeat`: between two heartbeats of an attempt. `schedule_to_close`: the whole call, with
    all its attempts and the waits between them. An attempt that overruns `start_to_close` or
    `heartbeat` has failed with TimeoutError, and is retried as the policy says; the other two
    end the call.
    """

    schedule_to_start: float | None = None
    start_to_close: float | None = None
    heartbeat: float | None = None
    schedule_to_close: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            seconds = getattr(self, field.name)
            if seconds is not None and not 0 < seconds <= LONGEST:
                raise FunctionError(
                    f"{field.name} is {seconds}; it must be more than 0 and at most "
                    f"{LONGEST_TEXT}, or None."
                )


NO_TIMEOUTS = Timeouts()


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How the calls of one function are run, see `register_function`."""

    executor: str
    retry: Retry | None = None
    timeouts: Timeouts = NO_TIMEOUTS
    transactional: bool = False
    is_registered: bool = True

    @property
    def retry_policy(self) -> Retry:
        return self.retry or Retry(**conf.current().RETRY)

    @property
    def needs_its_row(self) -> bool:
        """Returns whether a call must have its row before its function runs."""
        # Any worker watches over time-outs, another one has what this process does not know, and
        # what is transactional writes its answer itself.
        return self.transactional or not self.is_registered or self.timeouts != NO_TIMEOUTS
