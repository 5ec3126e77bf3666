from __future__ import annotations

import itertools
import logging
import math
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import Error, connections, reset_queries

from durable_monty import codec
from durable_monty.exceptions import CallNotFound
from durable_monty.executors.base import Executor, JobStatus
from durable_monty.executors.lease import leases
from durable_monty.executors.run import run_function, run_started
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.models import Call, CallStatus
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.attempts import unstart_attempts
from durable_monty.operations.log import log_call
from durable_monty.operations.running import RunningCall

if TYPE_CHECKING:
    from durable_monty.operations.answer import Answer
    from durable_monty.operations.new_calls import NewCall

logger = logging.getLogger("durable_monty")

# Calls that take less than so many seconds are fetched ahead, up to so many.
_QUICK = 0.02
_AHEAD = 64


class TableExecutor(Executor):
    """An executor that records answers in the call table itself: a job is the call's row."""

    records_answers = True

    def __init__(self) -> None:
        self.using = "default"

    def start(self, using: str, worker_id: int | None) -> None:
        self.using = using

    def check_job(self, job_id: str) -> JobStatus:
        call = Call.objects.using(self.using).filter(pk=job_id).first()
        if call is None:
            raise CallNotFound("(any)", job_id)
        match call.status:
            case CallStatus.COMPLETED:
                return {"status": "finished", "result": codec.decode(call.result or "null")}
            case CallStatus.FAILED:
                return {"status": "failed", "error": f"{call.error_type}: {call.error_message}"}
            case CallStatus.CANCELLED:
                return {"status": "failed", "error": "The call was withdrawn."}
            case CallStatus.SUBMITTED if call.started_at is not None:
                return {"status": "started"}
            case _:
                return {"status": "queued"}


class LocalExecutor(TableExecutor):
    """Runs calls in threads of the worker's own process; `threads` of them at a time.

    The threads hand their answers to the worker's loop, which records all that have come in one
    transaction.
    """

    name = "local"

    def __init__(self, threads: int | None = None) -> None:
        super().__init__()
        self.threads = threads or min(8, (os.cpu_count() or 1) + 4)
        self._current: dict[int, RunningCall] = {}
        self._threads: list[threading.Thread] = []
        self._numbers = itertools.count()
        self._has_begun = False
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._answers: deque[tuple[ClaimedCall, Answer]] = deque()
        self._typical_seconds = math.inf
        self._busy, self._executed = 0, 0
        self._lock = threading.Lock()

    def running_calls(self) -> list[RunningCall]:
        return list(self._current.copy().values())

    def capacity(self) -> int:
        """A call for each thread; more wait here while calls are so quick that fetching them is
        what takes the time. What waits behind a slow one could have been run elsewhere."""
        if self._has_begun and not any(thread.is_alive() for thread in self._threads):
            return 0
        wanted = _AHEAD if self._typical_seconds < _QUICK else self.threads
        return wanted - self._running()

    def check(self) -> None:
        """Replaces threads that have ended: any library may raise something in a thread of the
        process."""
        if self._has_begun:
            with self._lock:
                self._start_missing()

    def submit_call(self, call: Call) -> str:
        self._put(partial(self._run, call))
        return str(call.pk)

    def run_inline(
        self,
        calls: Sequence[NewCall],
        start: Callable[[NewCall], bool],
        answer: Callable[[NewCall, Answer], None],
    ) -> None:
        for call in calls:
            self._put(partial(self._run_inline, call, start, answer))

    def replace_thread(self, busy: threading.Thread) -> None:
        with self._lock:
            if busy in self._threads:
                self._threads.remove(busy)
                self._start_missing()

    def take_answers(self) -> list[tuple[ClaimedCall, Answer]]:
        # deque is safe between threads: what is appended meanwhile is left for the next time.
        return [self._answers.popleft() for _ in range(len(self._answers))]

    def get_stats(self) -> dict[str, Any]:
        return {"threads": self.threads, "running": self._running(), "executed": self._executed}

    def stop(self, timeout: float) -> bool:
        """What waits for a thread is run too."""
        deadline = time.monotonic() + timeout
        for _thread in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if self._threads:
            self._give_back()
        return not self._threads

    def _give_back(self) -> None:
        """What no thread has begun is for other workers now."""
        calls: list[Call] = []
        with suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if isinstance(job, partial) and job.func == self._run:
                    calls += job.args
        try:
            unstart_attempts([ClaimedCall.of(call) for call in calls], using=self.using)
        except Error as exc:
            logger.warning("calls left to their leases: %s", exc)

    def _running(self) -> int:
        return self._busy + self._jobs.qsize()

    def _put(self, job: Callable[[], None]) -> None:
        with self._lock:
            if not self._threads:
                self._start_missing()
        self._jobs.put(job)

    def _start_missing(self) -> None:
        self._has_begun = True
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        while len(self._threads) < self.threads:
            # A daemon: a function that never ends must not keep the process from ending.
            thread = threading.Thread(
                target=self._work, name=f"durable_monty-{next(self._numbers)}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as exc:  # the system has no more; `check` tries again
                logger.warning("thread not started: %s", exc)
                return
            self._threads.append(thread)

    def _work(self) -> None:
        try:
            while (job := self._next()) is not None:
                self._do(job)
                if threading.current_thread() not in self._threads:
                    return  # another has taken its place
        finally:
            connections.close_all()

    def _do(self, job: Callable[[], None]) -> None:
        with self._lock:
            self._busy += 1
        started = time.monotonic()
        try:
            job()
        except BaseException:
            logger.exception("call failed")
        finally:
            if settings.DEBUG:
                reset_queries()
            self._current.pop(threading.get_ident(), None)
            with self._lock:
                self._busy -= 1
                self._executed += 1
                self._note(time.monotonic() - started)

    def _next(self) -> Callable[[], None] | None:
        try:
            return self._jobs.get_nowait()
        except queue.Empty:
            # The threads live on; honour CONN_MAX_AGE as a request would.
            for connection in connections.all(initialized_only=True):
                connection.close_if_unusable_or_obsolete()
            return self._jobs.get()

    def _run(self, call: Call) -> None:
        self._current[threading.get_ident()] = RunningCall(call)
        try:
            if FUNCTION_REGISTRY[call.function].transactional:
                run_started(call, using=self.using)  # it records its answer itself
            else:
                claimed = ClaimedCall.of(call)
                with leases.held(claimed, using=self.using):
                    self._answers.append((claimed, run_function(call, self.using)))
        except Error as exc:
            log_call(logging.WARNING, "call left to its lease", call, exc)
        finally:
            self.wake()

    def _run_inline(
        self,
        call: NewCall,
        start: Callable[[NewCall], bool],
        answer: Callable[[NewCall, Answer], None],
    ) -> None:
        if start(call):
            self._current[threading.get_ident()] = RunningCall(call)
            answer(call, run_function(call, self.using))

    def _note(self, seconds: float) -> None:
        before = seconds if math.isinf(self._typical_seconds) else self._typical_seconds
        self._typical_seconds = 0.8 * before + 0.2 * seconds
