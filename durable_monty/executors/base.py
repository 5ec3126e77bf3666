from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NotRequired, TypedDict

from durable_monty.functions import DEFAULT_EXECUTOR

if TYPE_CHECKING:
    from durable_monty.models import Call
    from durable_monty.operations.answer import Answer, ClaimedCall
    from durable_monty.operations.running import RunningCall


class JobStatus(TypedDict):
    """The state of a job. Finished jobs have `result`, failed jobs may have the other keys.

    `error` is the message and `error_type` the name of the exception, with its module if that is
    known. The default is "RuntimeError". The function's retry policy decides about another
    attempt, unless `is_final` rules it out. `retry_after` is the number of seconds that the engine
    asks to wait.
    """

    status: Literal["queued", "started", "finished", "failed"]
    result: NotRequired[Any]
    error: NotRequired[str]
    error_type: NotRequired[str]
    traceback: NotRequired[str]
    is_final: NotRequired[bool]
    retry_after: NotRequired[float]


def failed_job(
    error_type: str,
    error: str,
    traceback: str = "",
    *,
    is_final: bool = False,
    retry_after: float | None = None,
) -> JobStatus:
    """Returns the status of a job that failed."""
    job: JobStatus = {
        "status": "failed",
        "error_type": error_type,
        "error": error,
        "traceback": traceback,
        "is_final": is_final,
    }
    return job if retry_after is None else {**job, "retry_after": retry_after}


class Executor(ABC):
    """Runs function calls.

    The worker claims due calls, up to `capacity()`, passes each to `submit_call` and stores the
    job id. Either the executor records the answer itself (`records_answers = True`), or the worker
    calls `check_job` until the job is finished or failed.
    """

    name: ClassVar[str]
    records_answers: bool = False
    is_inline: ClassVar[bool] = False
    """Whether functions run in the worker's own thread, so that no other thread uses the
    database."""
    may_block: ClassVar[bool] = False
    """Whether its methods wait for a server. The worker then calls `submit_call`, `check_job` and
    `revoke_job` in a thread of this executor."""
    starts_attempts: bool = False
    """Whether the job itself starts the attempt under the call's claim. Until then the worker
    keeps the claim while `is_queued` says that the engine has the job."""
    keeps_leases: ClassVar[bool] = False
    """Whether it renews the claims of its jobs itself, and reports their ends. The worker then
    checks a job only when its lease has run out, as the process that ran it is gone."""
    poll: float = 0.5
    """The longest time in seconds between two checks of a job."""
    waiting: int = 0
    """The number of its jobs that have not started or, if the engine does not report that, not
    ended. The worker counts them, for `capacity`."""
    is_default = True
    """Whether it also runs the functions that name no executor. A worker has one that does."""
    threads: int = 0
    """The number of calls that it can run at a time; 0 if that is not known."""
    wake: Callable[[], None] = staticmethod(lambda: None)
    """Set by the worker. The executor calls it when an answer was recorded."""
    job_ended: Callable[[], None] = staticmethod(lambda: None)
    """Set by the worker. The executor calls it when `take_job_answers` has something."""

    def serves(self) -> tuple[str, ...]:
        """Returns the executor names of functions whose calls it runs."""
        return (DEFAULT_EXECUTOR, self.name) if self.is_default else (self.name,)

    @abstractmethod
    def submit_call(self, call: Call) -> str:
        """Starts a call and returns a job id of at most 200 characters.

        `call.function` is a name in `FUNCTION_REGISTRY`. `call.args` and `call.kwargs` are JSON
        texts for `durable_monty.codec.decode`. After `ExecutorUnavailable` the call is submitted
        again later. Any other exception fails the attempt.
        """

    @abstractmethod
    def check_job(self, job_id: str) -> JobStatus:
        """Returns the state of a job, by the id that `submit_call` returned.

        Raises LookupError for an unknown job, whose call is then submitted again. Raises `JobLost`
        for a lost job that had started: a call that is lost three times in a row fails.
        """

    def is_queued(self, job_id: str) -> bool:
        """Returns whether the engine still has the job and has not started it."""
        return False

    def revoke_job(self, job_id: str) -> None:
        """Keeps a job of a withdrawn call from starting, and ends it if the engine can."""

    def forget_job(self, job_id: str) -> None:
        """Lets the engine delete a job, whose end is recorded."""

    @abstractmethod
    def get_stats(self) -> dict[str, Any]:
        """Returns figures for people, as keys and values of JSON."""

    def running_calls(self) -> list[RunningCall]:
        """Returns the calls that run in this worker, as far as is known."""
        return []

    def capacity(self) -> int:
        """Returns how many more calls it takes now."""
        return 100

    def take_job_answers(self) -> list[tuple[str, JobStatus]]:
        """Returns the ends of jobs that the engine has reported since the last time."""
        return []

    def take_answers(self) -> list[tuple[ClaimedCall, Answer]]:
        """Returns the answers since the last time, for the worker to record."""
        return []

    def start(self, using: str, worker_id: int | None) -> None:
        """Starts the executor, before the worker opens its connections and threads."""

    def check(self) -> None:
        """Replaces dead threads or processes. The worker calls it in each round of its loop."""

    def calls_came(self) -> None:
        """Notifies an executor that claims calls itself: there may be new ones."""

    def stop(self, timeout: float) -> bool:
        """Lets running calls end, for at most `timeout` seconds. Returns whether all did."""
        return True

    def kill(self) -> None:
        """Ends running calls at once. A signal handler calls it before the process ends."""
