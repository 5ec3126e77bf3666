from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import connections

from durable_monty import codec
from durable_monty.exceptions import CallNotFound
from durable_monty.executors.base import Executor, JobStatus
from durable_monty.executors.run import run_started
from durable_monty.models import Call, CallStatus

if TYPE_CHECKING:
    from concurrent.futures import Future


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
    """Runs calls in threads of the worker's own process; `threads` of them at a time."""

    name = "local"

    def __init__(self, threads: int | None = None) -> None:
        super().__init__()
        self.threads = threads or min(8, (os.cpu_count() or 1) + 4)
        self._pool: ThreadPoolExecutor | None = None
        self._running: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._done = 0

    def capacity(self) -> int:
        return self.threads - len(self._running)

    def submit_call(self, call: Call) -> str:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="durable_monty-call")
        future = self._pool.submit(self._run, call)
        with self._lock:
            self._running.add(future)
        future.add_done_callback(self._forget)
        return str(call.pk)

    def get_stats(self) -> dict[str, Any]:
        return {"threads": self.threads, "running": len(self._running), "executed": self._done}

    def stop(self, timeout: float) -> bool:
        _done, running = wait(list(self._running), timeout)
        if self._pool is not None:
            self._pool.shutdown(wait=not running, cancel_futures=True)
            self._pool = None
        return not running

    def _run(self, call: Call) -> None:
        try:
            run_started(call, using=self.using)
        finally:
            # The pool's threads live on; honour CONN_MAX_AGE as a request would.
            for connection in connections.all(initialized_only=True):
                connection.close_if_unusable_or_obsolete()

    def _forget(self, future: Future[None]) -> None:
        with self._lock:
            self._running.discard(future)
            self._done += 1
        self.wake()
