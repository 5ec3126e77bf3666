"""Reads the results of RQ's jobs, and waits for them in a thread."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, TimeoutError as RedisTimeout
from rq.defaults import RQ_KEY_PREFIX
from rq.results import Result
from rq.serializers import JSONSerializer

from durable_monty.exceptions import JobLost
from durable_monty.executors.base import JobStatus, failed_job
from durable_monty.executors.result_mode import describe_traceback
from durable_monty.executors.thread_pool import keep_running
from durable_monty.loop_errors import LoopErrors

# RQ stores this text in place of a result that its serializer refuses.
_NOT_STORED = "Unserializable return value"
# RQ writes these when the process of a job died, or its worker ...
_LOST = ("Work-horse terminated unexpectedly", "Moved to FailedJobRegistry")
# ... and this when the worker died after it had taken the job and before it started it.
_NOT_STARTED = "Job was stuck in intermediate queue"
_STOPPED = "Job stopped by user"

STREAMS = f"{RQ_KEY_PREFIX}:results:"
"""The prefix of the name of a job's result stream. The job's id follows."""
_FIRST = b"0-0"
# Seconds for which Redis keeps the listener's stream, which nobody deletes after a crash.
_KEPT = 60


def read_result(job_id: str, entry_id: bytes, fields: dict[Any, Any], redis: Redis) -> JobStatus:
    """Returns how a job ended, from an entry of its stream of results.

    Raises `JobLost` if its process or its worker died, and LookupError if it was never started.
    """
    try:
        result = Result.restore(job_id, entry_id.decode(), fields, redis, JSONSerializer)
    except ValueError as exc:
        why = f"The RQ worker wrote a result that is not JSON: {exc}"
        return failed_job("ValueError", why, is_final=True)
    match result.type:
        case Result.Type.SUCCESSFUL if result.return_value == _NOT_STORED:
            why = "The function returned what JSON cannot carry."
            return failed_job("TypeError", why, is_final=True)
        case Result.Type.SUCCESSFUL:
            return {"status": "finished", "result": result.return_value}
        case Result.Type.RETRIED:
            return {"status": "queued"}
        case _:
            return read_failure(job_id, result.exc_string or "")


def read_failure(job_id: str, text: str) -> JobStatus:
    """Returns the failure of a job, from the text that RQ stored. Raises as `read_result` does."""
    if text.startswith(_NOT_STARTED):
        raise LookupError(f"The job {job_id} was taken out of its queue and never started.")
    if text.startswith(_LOST):
        raise JobLost(job_id, f"{text.rstrip('; ')}.")
    if text.startswith(_STOPPED):
        return failed_job("RuntimeError", "The job was stopped in RQ.", is_final=True)
    described = describe_traceback(text)
    if described is None:
        return failed_job("RuntimeError", text or "The job failed in RQ.")
    error_type, message = described
    if error_type == "rq.exceptions.DeserializationError":
        message = "The RQ worker cannot read JSON: start it with --serializer json."
        return failed_job("RuntimeError", message, is_final=True)
    if error_type == "rq.timeouts.JobTimeoutException":
        error_type = "TimeoutError"
    return failed_job(error_type, message, text)


class ResultListener:
    """Waits in a thread for the results of jobs, and calls `deliver(job_id, job)` for each.

    RQ writes the result of each job to a stream. One blocking XREAD waits for all of them. The
    listener has a stream too, to end the XREAD when there is another job to wait for.
    """

    def __init__(
        self, redis: Redis, deliver: Callable[[str, JobStatus], None], *, block: float = 2.0
    ) -> None:
        """`block` is the longest wait in seconds, less than the client's `socket_timeout`."""
        self._redis, self._deliver, self._block = redis, deliver, block
        self._own = f"{STREAMS}durable_monty-{uuid.uuid4().hex}"
        self._own_at = _FIRST
        self._lock = threading.Lock()
        self._positions: dict[str, bytes] = {}
        self._blocks = False
        self._came, self._stopping = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._errors = LoopErrors("Listening for the results of RQ", "default")

    def watch(self, job_id: str) -> None:
        """Adds a job to those whose results are waited for."""
        with self._lock:
            if job_id in self._positions or self._stopping.is_set():
                return
            self._positions[job_id] = _FIRST
            blocks = self._blocks
        self._came.set()
        self._thread = keep_running(self._thread, self._listen, "durable_monty-rq-results")
        if blocks:
            # If Redis is away, the thread's XREAD has failed too, and starts again.
            with suppress(RedisError), self._redis.pipeline() as pipeline:
                pipeline.xadd(self._own, {"job": job_id}, maxlen=1)
                pipeline.expire(self._own, _KEPT)
                pipeline.execute()

    def forget(self, job_id: str) -> None:
        with self._lock:
            self._positions.pop(job_id, None)

    def stop(self) -> None:
        """Ends the thread, after the XREAD that runs now."""
        self._stopping.set()
        self._came.set()

    def _listen(self) -> None:
        while not self._stopping.is_set():
            if not self._positions:
                self._came.wait()
            self._came.clear()
            try:
                self._read()
            except RedisTimeout:
                continue  # no result came within the client's time-out
            except Exception as exc:  # noqa: BLE001  (noted)
                self._stopping.wait(self._errors.note(exc))

    def _read(self) -> None:
        with self._lock:
            streams: dict[Any, Any] = {
                f"{STREAMS}{job_id}": at for job_id, at in self._positions.items()
            }
            if not streams:
                return
            streams[self._own] = self._own_at
            self._blocks = True
        try:
            found: Any = self._redis.xread(streams, block=int(self._block * 1000))
        finally:
            self._blocks = False
        for key, entries in found.items() if isinstance(found, dict) else found or ():
            # Version 3 of Redis's protocol has one more list around them.
            flat = entries[0] if entries and isinstance(entries[0], list) else entries
            name = key.decode()
            for entry_id, fields in flat:
                if name == self._own:
                    self._own_at = entry_id
                else:
                    self._take(name.removeprefix(STREAMS), entry_id, fields)

    def _take(self, job_id: str, entry_id: bytes, fields: dict[Any, Any]) -> None:
        with self._lock:
            if job_id not in self._positions:
                return
            self._positions[job_id] = entry_id
        try:
            job = read_result(job_id, entry_id, fields, self._redis)
        except LookupError:
            self.forget(job_id)  # `check_job` raises it again, to the worker
            return
        if job["status"] != "queued":
            self.forget(job_id)
            self._deliver(job_id, job)
