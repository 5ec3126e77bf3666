"""The loop behind `manage.py runworker`."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence

from django.conf import settings
from django.db import Error, connections, reset_queries

from durable_monty import conf, operations
from durable_monty.engine import Engine
from durable_monty.engine.blocked import BLOCKED_PAUSE, Blocked
from durable_monty.engine.job_thread import JobThread
from durable_monty.engine.jobs import Jobs
from durable_monty.executors.base import Executor
from durable_monty.executors.group import ExecutorGroup
from durable_monty.executors.loading import configured_executors
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.loop_errors import LoopErrors
from durable_monty.models.worker_process import HEARTBEAT
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.log import log_calls, log_refusal
from durable_monty.operations.settle import Answered
from durable_monty.reads.executions import goes_on_by_itself
from durable_monty.reads.migrated import check_migrated
from durable_monty.service import OrchestratorService
from durable_monty.wakeups import LISTENING_POLL_FACTOR, Listener
from durable_monty.worker_reports import WorkerReports

logger = logging.getLogger("durable_monty")

# Seconds: until a worker notices `stop`, which cannot wake it, and of the first idle pause.
_STOP_LATENCY, _FIRST_PAUSE = 0.2, 0.002
# Seconds for the threads of executors that may block to end.
_JOBS_STOP = 3.0
# Seconds between queries for timed work: at least, and at most while there is other work.
_TIMED_PAUSE, _TIMED_BUSY = 0.05, 0.2


class Worker:
    """Advances executions and hands their calls to `executor`, or to several executors.

    By default these are the executors of the settings `EXECUTOR` and `EXECUTORS`. The first one
    also runs the functions that name none. `poll_interval` is the longest pause in seconds between
    two polls of an idle worker; with notifications (PostgreSQL, SQLite) it polls 20 times less
    often.
    """

    def __init__(
        self,
        service: OrchestratorService,
        executor: Executor | Sequence[Executor] | None = None,
        poll_interval: float | None = None,
    ) -> None:
        self.service, self.using = service, service.using
        self.executors = ExecutorGroup(executor or configured_executors())
        self.executor = self.executors.first
        self.poll_interval = (
            conf.current().POLL_INTERVAL if poll_interval is None else poll_interval
        )
        self.listener: Listener | None = None
        self.worker_id: int | None = None
        self._names = self.executors.serves()
        self._work_came = threading.Event()
        self._engine = Engine(self.executors.inline_runner, self._work_came, self.using)
        self._all_jobs = [Jobs(each, self.using) for each in self.executors]
        # Executors that may block have threads, but not in a single round.
        self._jobs, self._job_threads = self._all_jobs, list[JobThread]()
        self._stopping = False
        self._reports = WorkerReports(self.executors, self.using)
        self._answers: list[Answered] = []
        self._blocked = Blocked[Answered]()
        self._beat_at = 0.0
        self._timed_at, self._next_due_at = -math.inf, math.inf
        self._pause_for = _FIRST_PAUSE

    def run(self, once: bool = False, until_complete: bool = False) -> bool:
        """Works until `stop()`, for one round (`once`), or `until_complete`: until all executions
        that are left are paused or wait for people.

        Returns False if running calls had to be cut off at the end. They run again when their
        leases have run out. An error in a round is logged, and the next round begins after a
        pause; with `once` it is raised. Raises `DatabaseNotMigrated`, and ValueError for both
        options.
        """
        if once and until_complete:
            raise ValueError("Choose one: once=True for one round, or until_complete=True.")
        self._stopping = False
        drained = True
        try:
            self.start(once=once)
            try:
                if once:
                    self.round()
                else:
                    self._loop(until_complete=until_complete)
                self._reports.drain_begins(conf.current().DRAIN_TIMEOUT)
                drained = self._drain()
            finally:
                self._engine.give_back()
        finally:
            drained = self.close() and drained
        return drained

    def stop(self) -> None:
        """Ends the loop after its round. A signal handler may call it: it only sets a flag."""
        self._stopping = True

    @property
    def is_idle(self) -> bool:
        """Whether its engine has no executions."""
        return self._engine.is_idle

    def round(self, *, everything: bool = False) -> bool:
        """Does one round of the loop. Returns whether there was something to do.

        `everything`: also does the work that other rounds do only from time to time.
        """
        if settings.DEBUG:
            reset_queries()  # Django keeps every statement of a request, and this one never ends
        self._work_came.clear()
        if self.worker_id and time.monotonic() - self._beat_at > HEARTBEAT.total_seconds():
            operations.beat(self.worker_id, self._reports.stuck(), using=self.using)
            self._beat_at = time.monotonic()
            operations.dismiss_replaced(self.worker_id, using=self.using)
            self._reports.unserved()
        self.executors.check()
        worked = bool(self._record_answers())
        if worked:
            self._engine.wake()
        worked |= self._engine.round(everything=everything)
        now = time.monotonic()
        is_idle = not worked and self.is_idle and now - self._timed_at > _TIMED_PAUSE
        is_late = now - self._timed_at >= max(self.poll_interval, _TIMED_BUSY)
        if everything or is_idle or is_late or now >= self._next_due_at:
            self._timed_at = now
            if self.do_timed_work():
                self._engine.wake()
                worked = True
        if self._engine.calls_came:
            self._engine.calls_came = False
            worked |= bool(self._offer_calls())
        return worked

    def do_timed_work(self) -> bool:
        """Does the work that becomes due with time. Returns whether there was any."""
        limit, worked = conf.current().BATCH_SIZE, 0
        functions = FUNCTION_REGISTRY.served_by(self._names)
        due = operations.find_due(
            functions, self._names, ahead=self._longest_pause(), using=self.using
        )
        self._next_due_at = math.inf if due.wait is None else time.monotonic() + due.wait
        if due.timers:
            worked += operations.settle_timers(limit, using=self.using)
        if due.deadlines:
            worked += operations.settle_overdue(limit, using=self.using)
        if due.executions:
            worked += operations.expire_executions(limit, using=self.using)
        if due.calls:
            worked += self._offer_calls()
        for thread in self._job_threads:
            thread.wake()
        return bool(worked + sum(jobs.check() for jobs in self._jobs))

    def idle_pause(self) -> float:
        """Returns the seconds until the next round, more after each that had nothing to do."""
        if self._engine.is_quiet:
            self._pause_for = min(self._longest_pause(), 2 * self._pause_for)
        else:
            self._pause_for = min(self.poll_interval, _FIRST_PAUSE)
        longest = BLOCKED_PAUSE if self._blocked else self._engine.longest_pause
        return min(self._pause_for, longest, self._next_due_at - time.monotonic())

    def wake(self) -> None:
        """Begins a round soon: something may have become due. Any thread may call it."""
        # No notification follows for work that comes right after this one.
        self._pause_for = min(self._pause_for, self.poll_interval / 2)
        self._engine.wake()
        self._work_came.set()

    def start(self, *, once: bool = False) -> None:
        """Registers the worker and starts its executors, before its first round."""
        check_migrated(self.using)
        functions = FUNCTION_REGISTRY.served_by(self._names)
        self.worker_id = operations.register_worker(
            self.executors.name, functions, using=self.using
        )
        self._beat_at, self._timed_at = time.monotonic(), -math.inf
        self._engine.start(self.worker_id)
        for jobs in self._all_jobs:
            jobs.worker_id = self.worker_id
        self.executors.start(self.using, self.worker_id, self._work_came.set)
        blocking = [jobs for jobs in self._all_jobs if jobs.executor.may_block and not once]
        self._jobs = [jobs for jobs in self._all_jobs if jobs not in blocking]
        self._job_threads = [JobThread(jobs) for jobs in blocking]
        for thread in self._job_threads:
            thread.start()
        if not any(executor.is_inline for executor in self.executors):
            self.listener = Listener(self.using, self.wake)
        self._reports.started(self.worker_id, functions)

    def close(self) -> bool:
        """Stops the executors and signs the worker off. Returns whether all their calls have ended
        and all answers are recorded. The leases of other calls run out."""
        self._stop_job_threads()
        drained = self.executors.stop(conf.current().DRAIN_TIMEOUT)
        self._reports.drain_ends()
        if self.listener is not None:
            self.listener.stop()
        if self.worker_id is None:
            return drained
        try:
            self._record_answers(waits=True)
        except Exception as exc:  # noqa: BLE001  (it is logged)
            claims = [claimed for claimed, _answer in self._answers]
            log_calls(logging.ERROR, "answers not recorded", claims, exc, exc)
            return False
        running = (call.claim for call in self.executors.running_calls())
        claims = [ClaimedCall(*claim) for claim in running if claim is not None]
        try:
            if claims:  # later answers of these calls will be refused
                operations.cut_off_calls(claims, using=self.using)
        except Error as exc:
            log_calls(logging.WARNING, "calls left to their leases", claims, exc)
        try:
            operations.retire_worker(self.worker_id, using=self.using)
        except Exception as exc:  # noqa: BLE001  (its work is recorded; its heartbeat runs out)
            logger.warning("worker not signed off: %s", exc, extra={"reason": str(exc)})
        logger.info("worker stopped: number %d", self.worker_id, extra={"worker": self.worker_id})
        return drained

    def _loop(self, *, until_complete: bool) -> None:
        errors = LoopErrors("A round of the worker", self.using)
        while not self._stopping:
            try:
                if self.round():
                    self._pause_for = _FIRST_PAUSE
                    continue
                if until_complete and not goes_on_by_itself(self.using):
                    return
                pause = self.idle_pause()
            except Exception as exc:
                if connections[self.using].in_atomic_block:
                    raise  # the caller's transaction, which may be broken
                # Rows that were claimed in the round come back by their leases.
                pause = errors.note(exc)
            until = time.monotonic() + pause
            while not self._stopping and (left := until - time.monotonic()) > 0:
                if self._work_came.wait(min(left, _STOP_LATENCY)):
                    break

    def _drain(self) -> bool:
        """Returns whether all executions of the engine were written to the database."""
        self._stop_job_threads()
        deadline = time.monotonic() + conf.current().DRAIN_TIMEOUT
        errors = LoopErrors("Draining", self.using)
        while True:
            try:
                self._engine.drain(deadline - time.monotonic())
                return self.is_idle
            except Exception as exc:
                if connections[self.using].in_atomic_block:
                    raise
                time.sleep(max(0.0, min(errors.note(exc), deadline - time.monotonic())))

    def _stop_job_threads(self) -> None:
        """Ends the threads that claim calls, but not one whose engine does not respond in time."""
        for thread in self._job_threads:
            thread.stop(_JOBS_STOP)
        self._job_threads = []

    def _offer_calls(self) -> int:
        self.executors.calls_came()
        for thread in self._job_threads:
            thread.wake()
        return sum(jobs.submit() for jobs in self._jobs)

    def _longest_pause(self) -> float:
        hears = self.listener is not None and self.listener.hears
        return self.poll_interval * (LISTENING_POLL_FACTOR if hears else 1)

    def _record_answers(self, *, waits: bool = False) -> int:
        self._answers += self.executors.take_answers() + self._engine.take_answers()
        self._answers += self._blocked.take(now=waits)
        if not self._answers:
            return 0
        blocked: list[Answered] = []
        refused = operations.record_answers(
            self._answers, using=self.using, blocked=None if waits else blocked
        )
        recorded = len(self._answers) - len(blocked)
        self._answers.clear()  # not before: if the database is out of reach, they are retried
        self._blocked += blocked
        for refusal in refused:
            log_refusal(refusal)
        return recorded
