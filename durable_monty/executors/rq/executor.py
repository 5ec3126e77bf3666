"""Runs functions in the worker processes of RQ (https://python-rq.org)."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisDown, RedisError, TimeoutError as RedisTimeout
from redis.retry import Retry
from rq import Queue, Worker
from rq.command import send_stop_job_command
from rq.exceptions import DuplicateJobError, InvalidJobOperation, NoSuchJobError
from rq.executions import Execution, ExecutionRegistry
from rq.job import Job, JobStatus as RQStatus
from rq.serializers import JSONSerializer

from durable_monty.exceptions import ExecutorUnavailable, JobLost
from durable_monty.executors.base import JobStatus
from durable_monty.executors.plain_json import check_plain_json
from durable_monty.executors.remote import Mode, QueueExecutor
from durable_monty.executors.rq.results import STREAMS, ResultListener, read_failure, read_result
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.models import Call

logger = logging.getLogger("durable_monty")

DEFAULT_QUEUE, DEFAULT_URL = "durable_monty", "redis://127.0.0.1:6379/0"
_RUN_JOB = "durable_monty.executors.remote.run_job"

# Seconds.
_SOCKET_TIMEOUT = 5.0
_DAY = 86_400
# How long a job may be neither in the queue nor begun: its worker may have died in between.
_IN_BETWEEN = 5.0
# From the end of a call's time to that of its job, so that the call has its answer by then.
_AFTER_TIMEOUT = 3.0


class RQExecutor(QueueExecutor):
    """Puts calls into a queue of RQ, whose workers read JSON (`rq worker --serializer json`).

    `connection` is a client of Redis, used instead of `url`; it needs a `socket_timeout`.
    `job_timeout`: seconds after which RQ ends a job; by default soon after the
    `start_to_close` of its function, if that has one. `result_ttl`: seconds for which Redis keeps
    the end of a job. `lost_after` is for `mode="result"`: the seconds without a heartbeat of its
    RQ worker after which a job counts as lost, by default those after which RQ itself gives it up
    (90).
    """

    name = "rq"

    def __init__(
        self,
        queue_name: str = DEFAULT_QUEUE,
        url: str = DEFAULT_URL,
        *,
        connection: Redis | None = None,
        mode: Mode = "django",
        prefetch: int = 100,
        poll: float = 5.0,
        job_timeout: float | None = None,
        result_ttl: int = _DAY,
        lost_after: float | None = None,
    ) -> None:
        super().__init__(mode=mode, prefetch=prefetch, poll=poll)
        self.queue_name = queue_name
        self._redis = _client(url) if connection is None else _checked(connection)
        self._job_timeout, self._result_ttl = job_timeout, result_ttl
        self._lost_after = lost_after
        self._queue = Queue(queue_name, connection=self._redis, serializer=JSONSerializer)
        timeout = _socket_timeout(self._redis) or _SOCKET_TIMEOUT
        self._listener = ResultListener(self._redis, self.deliver, block=min(2.0, timeout / 2))
        self._in_between: dict[str, float] = {}

    def stop(self, timeout: float) -> bool:
        """Jobs go on: the next worker asks for them."""
        self._listener.stop()
        return True

    def enqueue_claimed(self, call: Call, job_id: str) -> None:
        assert call.claim is not None  # noqa: S101  (only claimed calls are submitted)
        # It has recorded its answer when it ends, so that RQ need not keep anything of it.
        args = [call.pk, call.claim.hex, self.using]
        self._enqueue(call, _RUN_JOB, args, job_id=job_id, result_ttl=0)

    def enqueue_function(
        self, call: Call, job_id: str, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        check_plain_json(call.function, args, kwargs)
        self._enqueue(call, path, args, kwargs, job_id=job_id, result_ttl=self._result_ttl)
        self._listener.watch(job_id)

    def is_queued(self, job_id: str) -> bool:
        with self._reaching():
            if self._queue.get_job_position(job_id) is not None:
                return True
            with suppress(NoSuchJobError):
                self._report_unrun(self._fetch(job_id))
            return False

    def check_job(self, job_id: str) -> JobStatus:
        with self._reaching():
            try:
                job = self._fetch(job_id)
            except NoSuchJobError as exc:
                raise LookupError(job_id) from exc
            self._raise_if_lost(job)
            found = self._result_of(job)
        if found["status"] in ("finished", "failed"):
            self._listener.forget(job_id)
        else:
            self._listener.watch(job_id)
        return found

    def revoke_job(self, job_id: str) -> None:
        """Takes a job out of the queue. One that runs is stopped, unless it has Django: then its
        function can ask `current_call().cancelled()`."""
        self._listener.forget(job_id)
        self._in_between.pop(job_id, None)
        with self._reaching(), suppress(NoSuchJobError):
            job = self._fetch(job_id)
            self._report_unrun(job)
            if job.get_status(refresh=False) != RQStatus.STARTED:
                job.delete()
            elif self.mode == "result":
                with suppress(InvalidJobOperation):
                    send_stop_job_command(self._redis, job_id, serializer=JSONSerializer)

    def forget_job(self, job_id: str) -> None:
        """Deletes a job that succeeded. Those that failed stay, for people to look at, until their
        time in Redis is over."""
        with self._reaching(), suppress(NoSuchJobError):
            job = self._fetch(job_id)
            if job.get_status(refresh=False) == RQStatus.FINISHED:
                job.delete()

    def get_stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = {"queue": self.queue_name, "mode": self.mode}
        try:
            stats["waiting"] = self._queue.count
            stats["running"] = self._queue.started_job_registry.get_job_count(cleanup=False)
            stats["workers"] = Worker.count(queue=self._queue)
        except RedisError as exc:
            stats["error"] = str(exc)
        return stats

    def _enqueue(
        self,
        call: Call,
        path: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None = None,
        *,
        job_id: str,
        result_ttl: int,
    ) -> None:
        # With `unique`, what the client sends again after a lost connection is there once.
        with self._reaching(), suppress(DuplicateJobError):
            self._queue.enqueue_call(
                path,
                args=list(args),
                kwargs=dict(kwargs or {}),
                timeout=self._timeout_of(call.function),
                result_ttl=result_ttl,
                failure_ttl=self._result_ttl,
                # A job that expires in the queue is submitted again, if anybody waits for it.
                ttl=_DAY,
                description=f"{call.function}, call {call.pk}",  # RQ would log its arguments
                job_id=job_id,
                unique=True,
            )

    def _fetch(self, job_id: str) -> Job:
        return Job.fetch(job_id, connection=self._redis, serializer=JSONSerializer)

    def _timeout_of(self, function: str) -> int:
        """Whole seconds; -1: RQ sets no limit."""
        if self._job_timeout is not None:
            return math.ceil(self._job_timeout)
        limit = FUNCTION_REGISTRY[function].timeouts.start_to_close
        return -1 if limit is None else math.ceil(limit + _AFTER_TIMEOUT)

    def _result_of(self, job: Job) -> JobStatus:
        entries: Any = self._redis.xrevrange(f"{STREAMS}{job.id}", count=1)
        for entry_id, fields in entries:
            return read_result(job.id, entry_id, fields, self._redis)
        match job.get_status(refresh=False):
            case RQStatus.STARTED:
                return {"status": "started"}
            case RQStatus.FINISHED | RQStatus.FAILED | RQStatus.CANCELED | RQStatus.STOPPED:
                raise LookupError(f"RQ has no result of the job {job.id} any more.")
            case _:
                return {"status": "queued"}

    def _raise_if_lost(self, job: Job) -> None:
        """Raises LookupError if no worker has the job, and no queue."""
        match job.get_status(refresh=False):
            case RQStatus.STARTED:
                if not self._is_alive(job):
                    raise JobLost(job.id, "its RQ worker is gone.")
            case RQStatus.QUEUED if self._queue.get_job_position(job.id) is None:
                since = self._in_between.setdefault(job.id, time.monotonic())
                if time.monotonic() - since > _IN_BETWEEN:
                    del self._in_between[job.id]
                    raise LookupError(f"The job {job.id} is not in its queue.")
                return
        self._in_between.pop(job.id, None)

    def _is_alive(self, job: Job) -> bool:
        for execution_id in ExecutionRegistry(job.id, self._redis).get_execution_ids():
            with suppress(ValueError):  # RQ lets it expire when its worker sends no heartbeats
                beat = Execution.fetch(execution_id, job.id, self._redis).last_heartbeat
                seconds, _microseconds = self._redis.time()
                age = seconds - beat.timestamp()
                return self._lost_after is None or age < self._lost_after
        try:
            return job.get_status() != RQStatus.STARTED  # it may have ended just now
        except InvalidJobOperation:
            return False

    def _report_unrun(self, job: Job) -> None:
        """Logs that a job failed before it came to its call, which comes back by its lease."""
        if self.mode == "result" or job.get_status(refresh=False) != RQStatus.FAILED:
            return
        result = job.latest_result()
        try:
            failure = read_failure(job.id, (result and result.exc_string) or "")
        except LookupError:  # its process died; the lease tells of that
            return
        why = f"{failure['error_type']}: {failure['error']}"
        logger.error(
            "The RQ job %s failed before it ran its call: does its worker have Django, the "
            "functions and --serializer json? %s",
            job.id,
            why,
            extra={"job": job.id, "executor": self.name, "reason": why},
        )
        job.delete()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except RedisError as exc:
            raise ExecutorUnavailable(self.name, exc) from exc


def _client(url: str) -> Redis:
    return Redis.from_url(
        url,
        socket_timeout=_SOCKET_TIMEOUT,
        socket_connect_timeout=_SOCKET_TIMEOUT,
        socket_keepalive=True,
        health_check_interval=30,
        # A connection that Redis has closed, by a restart maybe, is opened again once.
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisDown, RedisTimeout)),
    )


def _checked(connection: Redis) -> Redis:
    options = connection.connection_pool.connection_kwargs
    if options.get("decode_responses"):
        raise ValueError("connection decodes responses, which RQ cannot work with")
    if not _socket_timeout(connection):
        raise ValueError("connection has no socket_timeout: a Redis that hangs would hang us")
    return connection


def _socket_timeout(connection: Redis) -> float | None:
    pool = connection.connection_pool
    timeout: float | None = pool.connection_class(**pool.connection_kwargs).socket_timeout
    return timeout
