"""Executors that make one request for each call, in threads of the worker."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from durable_monty import operations
from durable_monty.exceptions import CallbackMissing, DurableMontyError
from durable_monty.executors.base import JobStatus
from durable_monty.executors.lease import leases
from durable_monty.executors.remote import RemoteExecutor, job_id_of
from durable_monty.executors.requests.failures import RequestFailed, failed
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.models.call import ACCEPTED
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.log import log_refusal
from durable_monty.operations.running import RunningCall
from durable_monty.webhooks import call_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from durable_monty.models import Call

# Seconds that a request may go on after its call's start-to-close: any worker notices that, and
# says so in the same words for every executor.
_GRACE = 1.0
_STEP = 0.05


class Exchange:
    """The time that one request has, and the way to cut it off from another thread."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends_at = time.monotonic() + seconds
        self._is_cut = threading.Event()
        self._lock = threading.Lock()
        self._close: Callable[[], None] | None = None

    @property
    def left(self) -> float:
        """Seconds; a little more than 0 at the least, as a socket's time-out must be."""
        return max(0.001, self._ends_at - time.monotonic())

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._ends_at

    @property
    def is_cut(self) -> bool:
        return self._is_cut.is_set()

    def on_cut(self, close: Callable[[], None]) -> None:
        """`close` is called when it is cut off, or at once if it was: in any thread."""
        with self._lock:
            self._close = close
            if self.is_cut:
                close()

    def cut(self) -> None:
        with self._lock:
            if not self.is_cut:
                self._is_cut.set()
                if self._close is not None:
                    self._close()

    def pause(self, seconds: float) -> None:
        """Waits, at most until it is cut off or its time is over."""
        self._is_cut.wait(min(seconds, self.left))


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request came to: the function's result, or, `accepted`, that it is still to come."""

    result: Any = None
    accepted: bool = False


@dataclass(slots=True)
class _Request:
    call: Call
    exchange: Exchange
    since: float = field(default_factory=time.monotonic)
    revoked: bool = False


class RequestExecutor(RemoteExecutor):
    """Makes a request for each call, `concurrency` of them at a time, each in a thread.

    While a request is under way its call's lease is renewed. If this process dies the lease runs
    out, and the request is made again, with the same idempotency key. What was accepted, to be
    answered at the webhook, needs no process any more: it has failed with a TimeoutError if no
    answer came within the function's `start_to_close`, or else within `callback_timeout` seconds.
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

        What it raises fails the attempt, and the function's policy decides about it; that of
        `RequestFailed` says whether it may.
        """

    def capacity(self) -> int:
        return self.concurrency - len(self._requests)

    def submit_call(self, call: Call) -> str:
        job_id = job_id_of(call)
        request = _Request(call, Exchange(self._seconds_for(call)))
        self._requests[job_id] = request
        leases.hold(ClaimedCall.of(call), using=self.using)
        threading.Thread(
            target=self._work, args=(job_id, request), name=f"{self.name}-{job_id}", daemon=True
        ).start()
        return job_id

    def check_job(self, job_id: str) -> JobStatus:
        """Raises LookupError for a request of another process: it is asked for only when the
        lease has run out, so that process is gone."""
        is_accepted = job_id.endswith(ACCEPTED) or job_id in [each for _, each in self._accepted]
        if is_accepted or job_id in self._requests:
            return {"status": "started"}
        for told, job in list(self._told):
            if told == job_id:
                return job
        raise LookupError(job_id)

    def revoke_job(self, job_id: str) -> None:
        request = self._requests.get(job_id)
        if request is not None:
            request.revoked = True
            request.exchange.cut()

    def check(self) -> None:
        """Cuts off requests whose time is over, however they pass it."""
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
        """Notes in the database what was accepted, too: here, where there is a connection."""
        self._note_accepted()
        return super().take_job_answers()

    def stop(self, timeout: float) -> bool:
        """Calls whose requests are still under way are due again at once, for other workers."""
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
        """Where the answer of an accepted call is posted; None without `callback_base_url`."""
        if self.callback_base_url is None:
            return None
        # By default it holds until the attempt's time is over; without one, that begins later.
        seconds = None if call.attempt_end_by else self.callback_timeout + self.timeout
        return call_url(call, self.callback_base_url, seconds)

    def _seconds_for(self, call: Call) -> float:
        limit = FUNCTION_REGISTRY[call.function].timeouts.start_to_close
        return self.timeout if limit is None else limit + _GRACE

    def _work(self, job_id: str, request: _Request) -> None:
        claimed = ClaimedCall.of(request.call)
        try:
            job = self._answer(job_id, request)
            if job is None:
                self._accepted.append((claimed, job_id))
            elif not request.revoked:
                self._told.append((job_id, job))
        finally:
            # In this order: a job that is neither under way nor told of counts as lost.
            self._made += 1
            self._requests.pop(job_id, None)
            leases.release(claimed)
            self.job_ended()

    def _answer(self, job_id: str, request: _Request) -> JobStatus | None:
        """How the job ended, or None if its end is still to come."""
        call, exchange = request.call, request.exchange
        try:
            reply = self.request(call, job_id, exchange)
            if reply.accepted and self.callback_base_url is None:
                raise CallbackMissing(call.function, self.name)
        except Exception as exc:  # noqa: BLE001  (the function's policy decides)
            if not exchange.is_over or isinstance(exc, RequestFailed | DurableMontyError):
                return failed(exc)
            why = f"{call.function}() did not answer within {exchange.seconds:g} seconds."
            return failed(TimeoutError(why))
        return None if reply.accepted else {"status": "finished", "result": reply.result}

    def _note_accepted(self) -> None:
        accepted = list(self._accepted)
        if accepted:
            claims, job_ids = zip(*accepted, strict=True)
            operations.accept_jobs(claims, job_ids, self.callback_timeout, using=self.using)
        for _each in accepted:  # not before: it is tried again if the database was out of reach
            self._accepted.popleft()
