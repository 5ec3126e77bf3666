from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections import deque
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypedDict

from durable_monty import operations
from durable_monty.exceptions import CallbackMissing, DurableMontyError
from durable_monty.executors.base import JobStatus
from durable_monty.executors.lease import leases
from durable_monty.executors.remote import RemoteExecutor, job_id_of
from durable_monty.executors.requests.exchange import Exchange, Reply
from durable_monty.executors.requests.failures import RequestFailed, job_of_exception
from durable_monty.functions import policy_of
from durable_monty.models import Call
from durable_monty.models.call import ACCEPTED
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.log import log_refusal
from durable_monty.operations.running import RunningCall
from durable_monty.webhooks import call_url

# Seconds that a request may go on after its call's start-to-close. Any worker notices that
# time-out, and words it in the same way for every executor.
_GRACE = 1.0
_STEP = 0.05


@dataclass(slots=True)
class _Request:
    call: Call
    exchange: Exchange
    since: float = field(default_factory=time.monotonic)
    revoked: bool = False


class RequestOptions(TypedDict, total=False):
    """The options that `RequestExecutor` documents."""

    connect_timeout: float
    callback_base_url: str | None
    callback_timeout: float


class RequestExecutor(RemoteExecutor):
    """Makes a request for each call, `concurrency` of them at a time, each in a thread.

    `timeout` limits a request, in seconds, for functions without `start_to_close`.
    `callback_base_url` is the public URL of this project, for services that accept a call and post
    its result to the webhook. An accepted call needs no process any more. It fails with a
    TimeoutError without an answer within the function's `start_to_close`, or else within
    `callback_timeout` seconds.

    The lease of a call is renewed while its request runs. If this process dies the lease runs out,
    and the request is made again with the same idempotency key.
    """

    keeps_leases: ClassVar[bool] = True

    def __init__(
        self,
        concurrency: int = 20,
        *,
        timeout: float = 60.0,
        connect_timeout: float = 5.0,
        callback_base_url: str | None = None,
        callback_timeout: float = 86_400.0,
    ) -> None:
        super().__init__()
        for name, value in [
            ("concurrency", concurrency),
            ("timeout", timeout),
            ("connect_timeout", connect_timeout),
            ("callback_timeout", callback_timeout),
        ]:
            if not value > 0:
                raise ValueError(f"{name} is {value}; it must be more than 0")
        self.threads = self.concurrency = concurrency
        self.timeout, self.connect_timeout = timeout, connect_timeout
        self.callback_base_url, self.callback_timeout = callback_base_url, callback_timeout
        self._requests: dict[str, _Request] = {}
        self._accepted: deque[tuple[ClaimedCall, str]] = deque()
        self._made = 0

    @abstractmethod
    def request(self, call: Call, job_id: str, exchange: Exchange) -> Reply:
        """Makes the request of a call, in a thread of its own.

        An exception fails the attempt, and the function's retry policy decides about another one.
        A `RequestFailed` can rule that out.
        """

    def capacity(self) -> int:
        return self.concurrency - len(self._requests)

    def submit_call(self, call: Call) -> str:
        job_id = job_id_of(call)
        limit = policy_of(call).timeouts.start_to_close
        exchange = Exchange(self.timeout if limit is None else limit + _GRACE)
        request = self._requests[job_id] = _Request(call, exchange)
        leases.hold(ClaimedCall.of(call), using=self.using)
        threading.Thread(
            target=self._work, args=(job_id, request), name=f"{self.name}-{job_id}", daemon=True
        ).start()
        return job_id

    def check_job(self, job_id: str) -> JobStatus:
        accepted = job_id.endswith(ACCEPTED) or job_id in [each for _, each in self._accepted]
        if accepted or job_id in self._requests:
            return {"status": "started"}
        for ended, job in list(self._ended_jobs):
            if ended == job_id:
                return job
        # A request of another process. The worker asks only when the lease has run out, so that
        # process is gone.
        raise LookupError(job_id)

    def revoke_job(self, job_id: str) -> None:
        request = self._requests.get(job_id)
        if request is not None:
            request.revoked = True
            request.exchange.cut()

    def check(self) -> None:
        """Cuts off requests whose time is over, also those of servers that go on sending."""
        for request in list(self._requests.values()):
            if request.exchange.is_over:
                request.exchange.cut()

    def running_calls(self) -> list[RunningCall]:
        return [RunningCall(each.call, each.since) for each in list(self._requests.values())]

    def get_stats(self) -> dict[str, Any]:
        return {
            "concurrency": self.concurrency,
            "running": len(self._requests),
            "made": self._made,
        }

    def take_job_answers(self) -> list[tuple[str, JobStatus]]:
        """Returns the jobs that ended, and records in the database those that were accepted."""
        # Here, because the threads of requests have no connection to the database.
        if accepted := list(self._accepted):
            claims, job_ids = zip(*accepted, strict=True)
            operations.accept_jobs(claims, job_ids, self.callback_timeout, using=self.using)
            for _each in accepted:  # only now: a database out of reach is tried again
                self._accepted.popleft()
        return super().take_job_answers()

    def stop(self, timeout: float) -> bool:
        """Waits for requests. Calls whose requests still run are due again at once, for other
        workers."""
        deadline = time.monotonic() + timeout
        while self._requests and time.monotonic() < deadline:
            self.check()
            time.sleep(_STEP)
        left = list(self._requests.items())
        for job_id, request in left:
            leases.release(ClaimedCall.of(request.call))
            self.revoke_job(job_id)
        for refusal in operations.settle_jobs(self.take_job_answers(), using=self.using):
            log_refusal(refusal)
        claims = [ClaimedCall.of(request.call) for _job_id, request in left]
        if claims:
            operations.cut_off_calls(claims, using=self.using)
        return not left

    def callback_url(self, call: Call) -> str | None:
        """Returns the URL for the answer of an accepted call; None without `callback_base_url`."""
        if self.callback_base_url is None:
            return None
        # By default the URL holds until the attempt's time is over. Without `start_to_close` that
        # time begins when the call is accepted, which is up to `timeout` later.
        seconds = None if call.attempt_end_by else self.callback_timeout + self.timeout
        return call_url(call, self.callback_base_url, seconds)

    def _work(self, job_id: str, request: _Request) -> None:
        call, exchange = request.call, request.exchange
        claimed = ClaimedCall.of(call)
        job: JobStatus | None = None
        try:
            try:
                reply = self.request(call, job_id, exchange)
                if reply.accepted and self.callback_base_url is None:
                    raise CallbackMissing(call.function, self.name)
                if not reply.accepted:
                    job = {"status": "finished", "result": reply.result}
            except Exception as exc:  # noqa: BLE001  (the function's policy decides)
                if exchange.is_over and not isinstance(exc, RequestFailed | DurableMontyError):
                    # A cut makes the request fail in many ways, which do not tell the reason.
                    why = f"{call.function}() did not answer within {exchange.seconds:g} seconds."
                    job = job_of_exception(TimeoutError(why))
                else:
                    job = job_of_exception(exc)
            if job is None:
                self._accepted.append((claimed, job_id))
            elif not request.revoked:
                self._ended_jobs.append((job_id, job))
        finally:
            # In this order: a job that neither runs nor has ended counts as lost.
            self._made += 1
            self._requests.pop(job_id, None)
            leases.release(claimed)
            self.job_ended()
