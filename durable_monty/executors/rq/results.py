"""The results of RQ's jobs: how they are read, and a thread that waits for them."""

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
from durable_monty.executors.base import JobStatus
from durable_monty.executors.tracebacks import describe_traceback
from durable_monty.loop_errors import LoopErrors

# RQ stores this text in the place of a result that its serializer refuses.
_NOT_STORED = "Unserializable return value"
# What RQ writes when the job did not come to its end: its process died, or its worker.
_LOST = ("Work-horse terminated unexpectedly", "Moved to FailedJobRegistry")
# What it writes when a worker died after it had taken the job, and before it began.
_NOT_BEGUN = "Job was stuck in intermediate queue"
_STOPPED = "Job stopped by user"

STREAMS = f"{RQ_KEY_PREFIX}:results:"
"""The name of a job's stream of results begins with it; its id follows."""
_FIRST = b"0-0"
# Seconds for which Redis keeps the listener's own stream.
_KEPT = 60


def read_result(job_id: str, entry_id: bytes, fields: dict[Any, Any], redis: Redis) -> JobStatus:
    """Returns how a job ended, from an entry of its stream of results.

    Raises `JobLost` if its process or its worker died, and LookupError if it did not begin.
    """
    try:
        result = Result.restore(job_id, entry_id.decode(), fields, redis, JSONSerializer)
    except ValueError as exc:
        return _failed("ValueError", f"The RQ worker wrote a result that is no JSON: {exc}")
    match result.type:
        case Result.Type.SUCCESSFUL if result.return_value == _NOT_STORED:
            return _failed("TypeError", "The function returned what JSON cannot carry.")
        case Result.Type.SUCCESSFUL:
            return {"status": "finished", "result": result.return_value}
        case Result.Type.RETRIED:
            return {"status": "queued"}
        case _:
            return read_failure(job_id, result.exc_string or "")


def read_failure(job_id: str, text: str) -> JobStatus:
    """Returns the failure of a job, from the text that RQ has of it. Raises as
    `read_result` does."""
    if text.startswith(_NOT_BEGUN):
        raise LookupError(f"The job {job_id} was taken out of its queue, and did not begin.")
    if text.startswith(_LOST):
        raise JobLost(job_id, f"{text.rstrip('; ')}.")
    if text.startswith(_STOPPED):
        return _failed("RuntimeError", "The job was stopped in RQ.")
    described = describe_traceback(text)
    if described is None:
        return _failed("RuntimeError", text or "The job failed in RQ.", is_final=False)
    error_type, message = described
    if error_type == "rq.exceptions.DeserializationError":
        message = "The RQ worker cannot read JSON: start it with --serializer json."
        return _failed("RuntimeError", message)
    if error_type == "rq.timeouts.JobTimeoutException":
        error_type = "TimeoutError"
    return {
        "status": "failed",
        "error": message,
        "error_type": error_type,
        "traceback": text,
    }


def _failed(error_type: str, message: str, *, is_final: bool = True) -> JobStatus:
    return {
        "status": "failed",
        "error": message,
        "error_type": error_type,
        "is_final": is_final,
    }


class ResultListener:
    """Waits in a thread for the results of jobs, and calls `deliver(job_id, job)` with each.

    RQ writes the result of a job to a stream of the job's own. One blocking XREAD waits for all
    of them. A stream of the listener's own ends it when there is one more job to wait for.
    """

    def __init__(
        self, redis: Redis, deliver: Callable[[str, JobStatus], None], *, block: float = 2.0
    ) -> None:
        """`block`: seconds, less than the time-out of the client's sockets."""
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
        """Waits for this job's result too."""
        with self._lock:
            if job_id in self._positions or self._stopping.is_set():
                return
            self._positions[job_id] = _FIRST
            blocks = self._blocks
        self._came.set()
        self._run()
        if blocks:
            # If Redis is away, the thread has lost it too, and begins again.
            with suppress(RedisError), self._redis.pipeline() as told:
                told.xadd(self._own, {"job": job_id}, maxlen=1)
                told.expire(self._own, _KEPT)
                told.execute()

    def forget(self, job_id: str) -> None:
        with self._lock:
            self._positions.pop(job_id, None)

    def stop(self) -> None:
        """Ends the thread, once what it reads now has come or timed out."""
        self._stopping.set()
        self._came.set()

    def _run(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._listen, name="durable_monty-rq-results", daemon=True
            )
            self._thread.start()

    def _listen(self) -> None:
        while not self._stopping.is_set():
            if not self._positions:
                self._came.wait()
            self._came.clear()
            try:
                self._read()
            except RedisTimeout:
                continue  # nothing came within the time-out of the client
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
            # The third version of Redis's protocol has one more list around them.
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
            self.forget(job_id)  # the worker finds that out when it asks for the job
            return
        if job["status"] != "queued":
            self.forget(job_id)
            self._deliver(job_id, job)
