from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
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

from durable_monty.exceptions import JobLost
from durable_monty.executors.base import JobStatus
from durable_monty.executors.remote import Mode, QueueExecutor, reaching
from durable_monty.executors.result_mode import check_plain_json
from durable_monty.executors.rq.results import STREAMS, ResultListener, read_failure, read_result
from durable_monty.functions import policy_of
from durable_monty.models import Call

logger = logging.getLogger("durable_monty")

DEFAULT_QUEUE, DEFAULT_URL = "durable_monty", "redis://127.0.0.1:6379/0"
_RUN_JOB = "durable_monty.executors.remote.run_job"

_ENDS = (RQStatus.FINISHED, RQStatus.FAILED, RQStatus.CANCELED, RQStatus.STOPPED)

# Seconds.
_SOCKET_TIMEOUT = 5.0
_DAY = 86_400
# A job whose worker died right after taking it stays queued without being in the queue. A job that
# is like that for so long is lost.
_IN_BETWEEN = 5.0
# From the end of a call's time to that of its job, so that the call has its answer by then.
_AFTER_TIMEOUT = 3.0


class RQExecutor(QueueExecutor):
    """Puts calls into a queue of RQ, whose workers read JSON (`rq worker --serializer json`).

    `connection` is a Redis client to use instead of `url`; it needs a `socket_timeout`. RQ ends a
    job after `job_timeout` seconds, by default soon after the `start_to_close` of its function.
    Redis keeps the end of a job for `result_ttl` seconds. With `mode="result"`, a job counts as
    lost after `lost_after` seconds without a heartbeat of its RQ worker, by default when RQ itself
    gives it up (90 seconds).
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
        if connection is None:
            connection = Redis.from_url(
                url,
                socket_timeout=_SOCKET_TIMEOUT,
                socket_connect_timeout=_SOCKET_TIMEOUT,
                socket_keepalive=True,
                health_check_interval=30,
                # A restart of Redis closes connections. One more try opens them again.
                retry=Retry(NoBackoff(), 1, supported_errors=(RedisDown, RedisTimeout)),
            )
        self._redis = connection
        options = self._redis.connection_pool.connection_kwargs
        if options.get("decode_responses"):
            raise ValueError("connection decodes responses, which RQ cannot work with")
        timeout = self._redis.connection_pool.connection_class(**options).socket_timeout
        if not timeout:
            raise ValueError("connection has no socket_timeout: a Redis that hangs would hang us")
        self._job_timeout, self._result_ttl = job_timeout, result_ttl
        self._lost_after = lost_after
        self._queue = Queue(queue_name, connection=self._redis, serializer=JSONSerializer)
        self._listener = ResultListener(self._redis, self.deliver, block=min(2.0, timeout / 2))
        self._in_between: dict[str, float] = {}

    def stop(self, timeout: float) -> bool:
        """Stops listening. Jobs go on, and the next worker checks them."""
        self._listener.stop()
        return True

    def enqueue_claimed(self, call: Call, job_id: str) -> None:
        assert call.claim is not None  # noqa: S101  (only claimed calls are submitted)
        # The job records its answer itself, so RQ need not keep a result.
        args = [call.pk, call.claim.hex, self.using]
        self._enqueue(call, _RUN_JOB, args, job_id=job_id, result_ttl=0)

    def enqueue_function(
        self, call: Call, job_id: str, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        check_plain_json(call.function, args, kwargs)
        self._enqueue(call, path, args, kwargs, job_id=job_id, result_ttl=self._result_ttl)
        self._listener.watch(job_id)

    def is_queued(self, job_id: str) -> bool:
        with reaching(self.name, RedisError):
            if self._queue.get_job_position(job_id) is not None:
                return True
            with suppress(NoSuchJobError):
                self._report_unrun(self._fetch(job_id))
            return False

    def check_job(self, job_id: str) -> JobStatus:
        with reaching(self.name, RedisError):
            try:
                job = self._fetch(job_id)
            except NoSuchJobError as exc:
                raise LookupError(job_id) from exc
            self._raise_if_lost(job)
            entries: Any = self._redis.xrevrange(f"{STREAMS}{job_id}", count=1)
            status = job.get_status(refresh=False)
            found: JobStatus = {"status": "started" if status == RQStatus.STARTED else "queued"}
            if entries:
                entry_id, fields = entries[0]
                found = read_result(job_id, entry_id, fields, self._redis)
            elif status in _ENDS:
                raise LookupError(f"RQ has no result of the job {job_id} any more.")
        if found["status"] in ("finished", "failed"):
            self._listener.forget(job_id)
        else:
            self._listener.watch(job_id)
        return found

    def revoke_job(self, job_id: str) -> None:
        """Takes a job out of the queue, or stops it if it runs in the mode "result"."""
        self._listener.forget(job_id)
        self._in_between.pop(job_id, None)
        with reaching(self.name, RedisError), suppress(NoSuchJobError):
            job = self._fetch(job_id)
            self._report_unrun(job)
            if job.get_status(refresh=False) != RQStatus.STARTED:
                job.delete()
            elif self.mode == "result":  # a function that has Django can ask `cancelled()` itself
                with suppress(InvalidJobOperation):
                    send_stop_job_command(self._redis, job_id, serializer=JSONSerializer)

    def forget_job(self, job_id: str) -> None:
        """Deletes a job that succeeded. Failed jobs stay in Redis for `result_ttl`, for people to
        look at."""
        with reaching(self.name, RedisError), suppress(NoSuchJobError):
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
        if (seconds := self._job_timeout) is None:
            limit = policy_of(call).timeouts.start_to_close
            seconds = -1 if limit is None else limit + _AFTER_TIMEOUT  # -1: RQ sets no limit
        # The client sends again after a lost connection. `unique` keeps the first job.
        with reaching(self.name, RedisError), suppress(DuplicateJobError):
            self._queue.enqueue_call(
                path,
                args=list(args),
                kwargs=dict(kwargs or {}),
                timeout=math.ceil(seconds),
                result_ttl=result_ttl,
                failure_ttl=self._result_ttl,
                # A job that expires in the queue is submitted again, unless it was withdrawn.
                ttl=_DAY,
                # By default the description has the arguments, and RQ logs it.
                description=f"{call.function}, call {call.pk}",
                job_id=job_id,
                unique=True,
            )

    def _fetch(self, job_id: str) -> Job:
        return Job.fetch(job_id, connection=self._redis, serializer=JSONSerializer)

    def _raise_if_lost(self, job: Job) -> None:
        """Raises LookupError for a job that is neither with a worker nor in its queue."""
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
            with suppress(ValueError):  # without heartbeats RQ lets the execution expire
                beat = Execution.fetch(execution_id, job.id, self._redis).last_heartbeat
                seconds, _microseconds = self._redis.time()
                age = seconds - beat.timestamp()
                return self._lost_after is None or age < self._lost_after
        try:
            return job.get_status() != RQStatus.STARTED  # it may have ended just now
        except InvalidJobOperation:
            return False

    def _report_unrun(self, job: Job) -> None:
        """Logs that a job failed before it started its call. The call's lease brings it back."""
        if self.mode == "result" or job.get_status(refresh=False) != RQStatus.FAILED:
            return
        result = job.latest_result()
        try:
            failure = read_failure(job.id, (result and result.exc_string) or "")
        except LookupError:  # its process died, which the expired lease shows anyway
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
