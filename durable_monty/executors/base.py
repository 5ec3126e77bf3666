from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NotRequired, TypedDict

from durable_monty.functions import DEFAULT_EXECUTOR

if TYPE_CHECKING:
    from durable_monty.models import Call
    from durable_monty.operations.answer import Answer, ClaimedCall
    from durable_monty.operations.new_calls import NewCall
    from durable_monty.operations.running import RunningCall


class JobStatus(TypedDict):
    """What `check_job` gives. `result` for finished jobs, `error` for failed ones."""

    status: Literal["queued", "started", "finished", "failed"]
    result: NotRequired[Any]
    error: NotRequired[str]


class Executor(ABC):
    """Where function calls run.

    The worker claims due calls, up to `capacity()`, hands each to `submit_call` and stores the
    job id. Then either the executor records the answer itself (`records_answers = True`), or the
    worker asks `check_job` until the job is finished or failed.
    """

    name: ClassVar[str]
    records_answers: ClassVar[bool] = False
    runs_young: ClassVar[bool] = False
    """Whether `run_young` takes calls that have no row yet."""
    is_inline: ClassVar[bool] = False
    """Whether functions run in the worker's own thread. Then no other one uses the database."""
    is_default = True
    """Whether it also runs the functions that name no executor. A worker has one that does."""
    threads: int = 0
    """How many calls it can run at a time; 0: not known."""
    wake: Callable[[], None] = staticmethod(lambda: None)
    """Set by the worker: to be called when an answer was recorded, so that it looks at once."""

    def serves(self) -> tuple[str, ...]:
        """The executor names, as functions are registered with, whose calls it runs."""
        return (DEFAULT_EXECUTOR, self.name) if self.is_default else (self.name,)

    @abstractmethod
    def submit_call(self, call: Call) -> str:
        """Starts a call and gives a job id, at most 200 characters.

        `call.function` is a name in `FUNCTION_REGISTRY`; `call.args` and `call.kwargs` are JSON
        text for `durable_monty.codec.decode`. An exception here fails the call.
        """

    @abstractmethod
    def check_job(self, job_id: str) -> JobStatus:
        """The state of a job, by the id that `submit_call` gave.

        LookupError says that the job is unknown: then the call is submitted again.
        """

    @abstractmethod
    def get_stats(self) -> dict[str, Any]:
        """Figures for people: keys and values that JSON can hold."""

    def running_calls(self) -> list[RunningCall]:
        """The calls that run in this worker, as far as it knows."""
        return []

    def capacity(self) -> int:
        """How many more calls it takes now."""
        return 100

    def take_answers(self) -> list[tuple[ClaimedCall, Answer]]:
        """The answers that came since the last time, for the worker to record."""
        return []

    def run_young(
        self,
        calls: Sequence[NewCall],
        begin: Callable[[NewCall], bool],
        answer: Callable[[NewCall, Answer], None],
    ) -> None:
        """Runs calls of an execution that the worker holds, each in a thread: calls `begin` when
        it gets to one, runs it if that says so, and calls `answer`."""
        raise NotImplementedError

    def replace_thread(self, busy: Thread) -> None:
        """Called when `answer`, which `run_young` was given, keeps one of its threads busy for
        long: another one may take its place."""

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
