from __future__ import annotations

import math
import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import connections

from durable_monty import codec
from durable_monty.exceptions import CallNotFound
from durable_monty.executors.base import Executor, JobStatus
from durable_monty.executors.lease import leases
from durable_monty.executors.run import answer_of, run_started
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.models import Call, CallStatus
from durable_monty.operations.answer import ClaimedCall

if TYPE_CHECKING:
    from concurrent.futures import Future

    from durable_monty.operations.answer import Answer

# Calls that take less than so many seconds are fetched ahead, up to so many.
_QUICK = 0.02
_AHEAD = 64


class TableExecutor(Executor):
    """An executor that records answers in the call table itself: a job is the call's row."""

    records_answers: ClassVar[bool] = True

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
        self._pool: ThreadPoolExecutor | None = None
        self._running: set[Future[None]] = set()
        self._answers: deque[tuple[ClaimedCall, Answer]] = deque()
        self._typical_seconds = math.inf
        self._executed = 0

    def capacity(self) -> int:
        """A call for each thread; more wait here while calls are so quick that fetching them is
        what takes the time. What waits behind a slow one could have been run elsewhere."""
        wanted = _AHEAD if self._typical_seconds < _QUICK else self.threads
        return wanted - len(self._running)

    def submit_call(self, call: Call) -> str:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="durable_monty-call")
        future = self._pool.submit(self._run, call)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return str(call.pk)

    def take_answers(self) -> list[tuple[ClaimedCall, Answer]]:
        # deque is safe between threads: what is appended meanwhile is left for the next time.
        return [self._answers.popleft() for _ in range(len(self._answers))]

    def get_stats(self) -> dict[str, Any]:
        return {
            "threads": self.threads,
            "running": len(self._running),
            "executed": self._executed,
        }

    def stop(self, timeout: float) -> bool:
        _done, running = wait(list(self._running), timeout)
        if self._pool is not None:
            self._pool.shutdown(wait=not running, cancel_futures=True)
            self._pool = None
        return not running

    def _run(self, call: Call) -> None:
        claimed, started = ClaimedCall.of(call), time.monotonic()
        with leases.held(claimed, using=self.using):
            if FUNCTION_REGISTRY[call.function].transactional:
                run_started(call, using=self.using)  # it records its answer itself
            else:
                self._answers.append((claimed, answer_of(call, self.using)))
        seconds = time.monotonic() - started
        self._typical_seconds = (
            seconds
            if math.isinf(self._typical_seconds)
            else 0.8 * self._typical_seconds + 0.2 * seconds
        )
        self._executed += 1
        self.wake()
        # The pool's threads live on; honour CONN_MAX_AGE as a request would.
        for connection in connections.all(initialized_only=True):
            connection.close_if_unusable_or_obsolete()
