from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Thread
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from durable_monty.executors.base import Executor

if TYPE_CHECKING:
    from durable_monty.operations.answer import Answer, ClaimedCall
    from durable_monty.operations.new_calls import NewCall
    from durable_monty.operations.running import RunningCall

logger = logging.getLogger("durable_monty")


@runtime_checkable
class InlineRunner(Protocol):
    """An executor whose threads also run inline calls: calls of the worker that have no row yet.

    The engine of the worker uses it. Executors of other packages need not know of it.
    """

    def serves(self) -> tuple[str, ...]:
        """Returns the executor names whose calls it runs."""

    def run_inline(
        self,
        calls: Sequence[NewCall],
        start: Callable[[NewCall], bool],
        answer: Callable[[NewCall, Answer], NewCall | None],
    ) -> None:
        """Runs each call in a thread: calls `start` first, runs the function if that returns True,
        and passes its answer to `answer`. If that returns a call, the same thread may run it
        next."""

    def replace_thread(self, busy: Thread) -> None:
        """Starts another thread in place of `busy`, which `answer` keeps for long."""


class ExecutorGroup:
    """The executors of one worker. The first one also runs functions that name no executor.

    Raises ValueError without executors, or if two have the same name.
    """

    def __init__(self, executors: Executor | Sequence[Executor]) -> None:
        given = [executors] if isinstance(executors, Executor) else executors
        names = [executor.name for executor in given]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"A worker needs executors of different names, not {names}.")
        self._executors = tuple(given)
        self._started: list[Executor] = []
        for number, executor in enumerate(self._executors):
            executor.is_default = number == 0

    def __iter__(self) -> Iterator[Executor]:
        return iter(self._executors)

    @property
    def first(self) -> Executor:
        return self._executors[0]

    @property
    def inline_runner(self) -> InlineRunner | None:
        """The first executor that runs calls which have no row yet."""
        return next((each for each in self._executors if isinstance(each, InlineRunner)), None)

    @property
    def name(self) -> str:
        return ",".join(executor.name for executor in self._executors)

    @property
    def threads(self) -> int:
        return sum(executor.threads for executor in self._executors)

    def running_calls(self) -> list[RunningCall]:
        return [call for executor in self._executors for call in executor.running_calls()]

    def serves(self) -> tuple[str, ...]:
        """Returns the executor names, as functions are registered with, whose calls they run."""
        return tuple(name for executor in self._executors for name in executor.serves())

    def start(self, using: str, worker_id: int | None, wake: Callable[[], None]) -> None:
        self._started = []
        for executor in self._executors:
            executor.wake = wake
            executor.start(using, worker_id)
            self._started.append(executor)

    def check(self) -> None:
        for executor in self._executors:
            executor.check()

    def calls_came(self) -> None:
        for executor in self._executors:
            executor.calls_came()

    def take_answers(self) -> list[tuple[ClaimedCall, Answer]]:
        return [answer for executor in self._executors for answer in executor.take_answers()]

    def stop(self, timeout: float) -> bool:
        """Stops the started executors, within `timeout` seconds in all. Returns False if one of
        them had to cut calls off."""
        deadline, drained = time.monotonic() + timeout, True
        while self._started:
            executor = self._started.pop()
            try:
                drained &= executor.stop(max(0.0, deadline - time.monotonic()))
            except Exception as exc:
                name = executor.name
                logger.exception(
                    "executor %s not stopped: %s", name, exc, extra={"executor": name}
                )
                drained = False
        return drained

    def kill(self) -> None:
        for executor in self._executors:
            executor.kill()
