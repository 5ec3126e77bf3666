from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.db import Error

from durable_monty.executors.lease import leases
from durable_monty.executors.run import run_function, run_started
from durable_monty.executors.table import TableExecutor
from durable_monty.executors.thread_pool import Job, ThreadPool
from durable_monty.functions import policy_of
from durable_monty.models import Call
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.attempts import unstart_attempts
from durable_monty.operations.log import log_call
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.running import RunningCall

logger = logging.getLogger("durable_monty")

# While calls take fewer seconds than that, so many are claimed ahead.
_QUICK = 0.02
_AHEAD = 64


class LocalExecutor(TableExecutor):
    """Runs calls in threads of the worker's own process; `threads` of them at a time.

    The threads pass their answers to the worker's loop, which records all of them in one
    transaction. As an `InlineRunner` it also runs calls that have no row yet.
    """

    name = "local"

    def __init__(self, threads: int | None = None) -> None:
        super().__init__()
        self.threads = threads or min(8, (os.cpu_count() or 1) + 4)
        self._pool = ThreadPool(self.threads)
        self._running: dict[int, RunningCall] = {}
        self._answers: deque[tuple[ClaimedCall, Answer]] = deque()

    def running_calls(self) -> list[RunningCall]:
        return list(self._running.copy().values())

    def capacity(self) -> int:
        if self._pool.is_dead:
            return 0
        # Claiming takes longer than quick calls do, so more of them may wait here. Another process
        # could have run a call that waits behind a slow one.
        wanted = _AHEAD if self._pool.typical_seconds < _QUICK else self.threads
        return wanted - self._pool.load

    def check(self) -> None:
        self._pool.replace_dead()

    def submit_call(self, call: Call) -> str:
        self._pool.put(partial(self._run, call))
        return str(call.pk)

    def run_inline(
        self,
        calls: Sequence[NewCall],
        start: Callable[[NewCall], bool],
        answer: Callable[[NewCall, Answer], NewCall | None],
    ) -> None:
        for call in calls:
            self._pool.put(partial(self._run_inline, call, start, answer))

    def replace_thread(self, busy: threading.Thread) -> None:
        self._pool.replace(busy)

    def take_answers(self) -> list[tuple[ClaimedCall, Answer]]:
        # deque is safe between threads. An answer that comes meanwhile is left for the next time.
        return [self._answers.popleft() for _ in range(len(self._answers))]

    def get_stats(self) -> dict[str, Any]:
        pool = self._pool
        return {"threads": self.threads, "running": pool.load, "executed": pool.executed}

    def stop(self, timeout: float) -> bool:
        """Runs the calls that wait for a thread too. Gives those back that are left."""
        if self._pool.stop(timeout):
            return True
        calls: list[Call] = []
        for job in self._pool.take_waiting():
            if isinstance(job, partial) and job.func == self._run:
                calls += job.args
        try:
            unstart_attempts([ClaimedCall.of(call) for call in calls], using=self.using)
        except Error as exc:
            logger.warning("calls left to their leases: %s", exc)
        return False

    def _run_inline(
        self,
        call: NewCall,
        start: Callable[[NewCall], bool],
        answer: Callable[[NewCall, Answer], NewCall | None],
    ) -> Job | None:
        if not start(call):
            return None
        self._running[threading.get_ident()] = RunningCall(call)
        try:
            following = answer(call, run_function(call, self.using))
        finally:
            self._running.pop(threading.get_ident(), None)
        return None if following is None else partial(self._run_inline, following, start, answer)

    def _run(self, call: Call) -> None:
        self._running[threading.get_ident()] = RunningCall(call)
        try:
            if policy_of(call).transactional:
                run_started(call, using=self.using)  # it records its answer itself
            else:
                claimed = ClaimedCall.of(call)
                with leases.kept(claimed, using=self.using):
                    self._answers.append((claimed, run_function(call, self.using)))
        except Error as exc:
            log_call(logging.WARNING, "call left to its lease", call, exc)
        finally:
            self._running.pop(threading.get_ident(), None)
            self.wake()
