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
    """What `check_job` gives. `result` is there for finished jobs, the others for failed ones.

    `error` is the message and `error_type` the name of the exception, with its module if it is
    known ("RuntimeError" by default). The function's retry policy decides about it, unless
    `is_final` says that no other attempt can help; `retry_after`: the seconds that the engine
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
    """Where function calls run.

    The worker claims due calls, up to `capacity()`, hands each to `submit_call` and stores the
    job id. Then either the executor records the answer itself (`records_answers = True`), or the
    worker asks `check_job` until the job is finished or failed.
    """

    name: ClassVar[str]
    records_answers: bool = False
    is_inline: ClassVar[bool] = False
    """Whether functions run in the worker's own thread. Then no other one uses the database."""
    may_block: ClassVar[bool] = False
    """Whether its methods talk to something that may not answer: the worker then calls
    `submit_call`, `check_job` and `revoke_job` in a thread of this executor's own."""
    starts_attempts: bool = False
    """Whether the job itself starts the attempt under the call's claim. Until then the worker
    keeps the claim while `is_queued` says that the engine has the job."""
    keeps_leases: ClassVar[bool] = False
    """Whether it renews the claims of its jobs itself, and tells of their ends. Then a job is
    asked for only when its lease has run out: whoever ran it is gone."""
    poll: float = 0.5
    """The longest time in seconds between two looks at a job with `check_job`."""
    waiting: int = 0
    """How many of its jobs are still to begin or, where nobody tells of that, to end. The worker
    counts them, for `capacity`."""
    is_default = True
    """Whether it also runs the functions that name no executor. A worker has one that does."""
    threads: int = 0
    """How many calls it can run at a time; 0: not known."""
    wake: Callable[[], None] = staticmethod(lambda: None)
    """Set by the worker: to be called when an answer was recorded, so that it looks at once."""
    job_ended: Callable[[], None] = staticmethod(lambda: None)
    """Set by the worker: to be called when `take_job_answers` has something."""

    def serves(self) -> tuple[str, ...]:
        """The executor names, as functions are registered with, whose calls it runs."""
        return (DEFAULT_EXECUTOR, self.name) if self.is_default else (self.name,)

    @abstractmethod
    def submit_call(self, call: Call) -> str:
        """Starts a call and gives a job id, at most 200 characters.

        `call.function` is a name in `FUNCTION_REGISTRY`; `call.args` and `call.kwargs` are JSON
        text for `durable_monty.codec.decode`. An exception here fails the attempt, but
        `ExecutorUnavailable` gives the call back: it is submitted again after a pause.
        """

    @abstractmethod
    def check_job(self, job_id: str) -> JobStatus:
        """The state of a job, by the id that `submit_call` gave.

        LookupError says that the job is unknown: then the call is submitted again. `JobLost` says
        so too, of a job that had begun: a call that is lost three times in a row is given up.
        """

    def is_queued(self, job_id: str) -> bool:
        """Whether the engine still has the job, and it has not begun."""
        return False

    def revoke_job(self, job_id: str) -> None:
        """Keeps a job from beginning, and ends it if the engine can: nobody waits for it."""

    def forget_job(self, job_id: str) -> None:
        """Called when the end of a job is recorded: the engine need not keep it."""

    @abstractmethod
    def get_stats(self) -> dict[str, Any]:
        """Figures for people: keys and values that JSON can hold."""

    def running_calls(self) -> list[RunningCall]:
        """The calls that run in this worker, as far as it knows."""
        return []

    def capacity(self) -> int:
        """How many more calls it takes now."""
        return 100

    def take_job_answers(self) -> list[tuple[str, JobStatus]]:
        """The ends of jobs that the engine told of since the last time."""
        return []

    def take_answers(self) -> list[tuple[ClaimedCall, Answer]]:
        """The answers that came since the last time, for the worker to record."""
        return []

    def start(self, using: str, worker_id: int | None) -> None:
        """Called once, before the worker opens its connections and threads."""

    def check(self) -> None:
        """Called in each round of the worker's loop: repair what died."""

    def calls_came(self) -> None:
        """Called when calls may have been stored, for an executor that claims them by itself."""

    def stop(self, timeout: float) -> bool:
        """Lets running calls end, for at most `timeout` seconds; False if some did not."""
        return True

    def kill(self) -> None:
        """Ends what runs, at once. Called in a signal handler, before the process itself ends."""
