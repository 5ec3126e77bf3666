"""The base classes of executors whose jobs run in another engine, and the job with Django."""

from __future__ import annotations

import logging
import uuid
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

from django.conf import settings
from django.db import close_old_connections, reset_queries

from durable_monty import codec
from durable_monty.exceptions import ExecutorUnavailable, IllegalTransition, UnknownFunction
from durable_monty.executors.base import Executor, JobStatus
from durable_monty.executors.batch import Batch
from durable_monty.functions import FUNCTION_REGISTRY, searched
from durable_monty.models import Call
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.attempts import start_attempts
from durable_monty.operations.job_answers import job_id_of
from durable_monty.operations.log import log_call, log_refusal
from durable_monty.operations.settle import settle_attempt

__all__ = ["QueueExecutor", "RemoteExecutor", "job_id_of", "run_job"]

Mode = Literal["django", "result"]

# A process may lack a function that another one has, while a deploy runs. The call is tried again
# so many times, and the first time after so many seconds.
_UNKNOWN_TRIES, _UNKNOWN_WAIT = 5, 5.0


@contextmanager
def reaching(executor: str, *errors: type[BaseException]) -> Iterator[None]:
    """Turns errors of an engine's client into `ExecutorUnavailable`."""
    try:
        yield
    except errors as exc:
        raise ExecutorUnavailable(executor, f"{type(exc).__name__}: {exc}") from exc


class RemoteExecutor(Executor):
    """Hands calls to another engine, which returns their results.

    `poll` is the longest time in seconds between two checks of a job. If the engine can notify
    this process of results, they go to `deliver`, and checks only find those that were missed.
    """

    may_block: ClassVar[bool] = True

    def __init__(self, *, poll: float = 5.0) -> None:
        if not poll > 0:
            raise ValueError(f"poll is {poll}; it must be more than 0 seconds")
        self.poll = poll
        self.using = "default"
        self._ended_jobs: deque[tuple[str, JobStatus]] = deque()

    def start(self, using: str, worker_id: int | None) -> None:
        self.using = using

    def deliver(self, job_id: str, job: JobStatus) -> None:
        """Takes the end of a job. Any thread may call it, more than once for a job."""
        self._ended_jobs.append((job_id, job))
        self.job_ended()

    def take_job_answers(self) -> list[tuple[str, JobStatus]]:
        # deque is safe between threads. A job that ends meanwhile is left for the next time.
        return [self._ended_jobs.popleft() for _ in range(len(self._ended_jobs))]


class QueueExecutor(RemoteExecutor):
    """Puts calls into the queue of another engine, for its own worker processes.

    With `mode="django"` these processes have Django, the database and the functions. A job runs
    its call under the call's claim and records the answer itself. With `mode="result"` they have
    only the function, under its dotted path. It is called with arguments of JSON, and the engine
    keeps its result. `prefetch` limits how many jobs of this worker wait in the queue; in the mode
    "result", how many wait or run.
    """

    def __init__(self, *, mode: Mode = "django", prefetch: int = 100, poll: float = 5.0) -> None:
        super().__init__(poll=poll)
        if mode not in ("django", "result"):
            raise ValueError(f"mode is {mode!r}; use 'django' or 'result'")
        if prefetch < 1:
            raise ValueError(f"prefetch is {prefetch}; it must be at least 1")
        self.mode, self.prefetch = mode, prefetch
        self.records_answers = self.starts_attempts = mode == "django"

    def capacity(self) -> int:
        return self.prefetch - self.waiting

    def submit_call(self, call: Call) -> str:
        job_id = job_id_of(call)
        if self.starts_attempts:
            self.enqueue_claimed(call, job_id)
        else:
            path = FUNCTION_REGISTRY[call.function].place
            args = codec.as_dicts(codec.decode(call.args))
            kwargs = codec.as_dicts(codec.decode(call.kwargs))
            self.enqueue_function(call, job_id, path, args, kwargs)
        return job_id

    @abstractmethod
    def enqueue_claimed(self, call: Call, job_id: str) -> None:
        """Puts `run_job(call.pk, call.claim.hex, self.using)` into the queue."""

    @abstractmethod
    def enqueue_function(
        self,
        call: Call,
        job_id: str,
        path: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        """Puts the function `path` into the queue, with these arguments."""

    @abstractmethod
    def is_queued(self, job_id: str) -> bool: ...


def run_job(pk: int, token: str, using: str = "default") -> None:
    """Runs the call of a claim and records its answer. It is the job of `mode="django"`.

    It does nothing if the claim does not hold any more, because the job came twice or too late. It
    raises if the database stays out of reach; then the lease brings the call back.
    """
    close_old_connections()
    claimed = ClaimedCall(pk, uuid.UUID(token))
    try:
        function = Call.objects.using(using).filter(pk=pk).values_list("function", flat=True)
        name = function.first()
        if name is not None and name not in FUNCTION_REGISTRY:
            _refuse(claimed, name, using)
        else:
            Batch(using=using).run([claimed])
    finally:
        if settings.DEBUG:
            reset_queries()
        close_old_connections()


def _refuse(claimed: ClaimedCall, name: str, using: str) -> None:
    for call in start_attempts([claimed], using=using):
        exc = UnknownFunction(
            name, f"the process that runs the engine's jobs did not find it in {searched()}."
        )
        log_call(logging.ERROR, "function unknown here", call, exc)
        answer = Answer.of_exception(exc)
        if call.failures < _UNKNOWN_TRIES:
            answer = answer._replace(retry_in=_UNKNOWN_WAIT * 2**call.failures, exc=None)
        try:
            settle_attempt(claimed, answer, using=using)
        except IllegalTransition as refusal:
            log_refusal(refusal)
