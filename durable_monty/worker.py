"""The loop behind `manage.py runworker`."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.db import Error, connections, reset_queries

from durable_monty import conf, operations
from durable_monty.engine import TURN_THREADS, Engine
from durable_monty.engine.job_thread import JobThread
from durable_monty.engine.jobs import Jobs
from durable_monty.executors.base import Executor
from durable_monty.executors.group import ExecutorGroup
from durable_monty.executors.loading import configured_executors
from durable_monty.functions import FUNCTION_REGISTRY, searched
from durable_monty.loop_errors import LoopErrors
from durable_monty.models.worker_process import HEARTBEAT
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.log import log_calls, log_refusal
from durable_monty.reads.executions import goes_on_by_itself
from durable_monty.reads.migrated import check_migrated
from durable_monty.service import OrchestratorService
from durable_monty.wakeups import LISTENING_POLL_FACTOR, Listener
from durable_monty.worker_reports import WorkerReports

logger = logging.getLogger("durable_monty")

# Seconds.
_STOP_LATENCY = 0.2
_QUICK = 0.002
# Until the threads of executors that may block have ended what they do.
_JOBS_STOP = 3.0
# Between looks at what time brings: the least, and the most while there is work.
_LOOK_PAUSE, _BUSY_LOOK = 0.05, 0.2


class Worker:
    """Advances executions and hands their calls to `executor`, or to several; by default to those
    of the settings `EXECUTOR` and `EXECUTORS`. The first one also runs what names none.

    `poll_interval`: seconds between looks at the database while there is nothing to do; 20 times
    that where the database tells of it (PostgreSQL, SQLite).
    """

    def __init__(
        self,
        service: OrchestratorService,
        executor: Executor | Sequence[Executor] | None = None,
        poll_interval: float | None = None,
    ) -> None:
        settings = conf.current()
        self.service = service
        self.using = service.using
        self.executors = ExecutorGroup(executor or configured_executors())
        self.executor = self.executors.first
        self.poll_interval = settings.POLL_INTERVAL if poll_interval is None else poll_interval
        self._names = self.executors.serves()
        self._work_came = threading.Event()
        self._engine = Engine(self.executors.inline_runner, self._work_came.set, self.using)
        self._all_jobs = [Jobs(each, self.using) for each in self.executors]
        # Those of executors that may block have threads; in a single round nothing has.
        self._jobs, self._job_threads = self._all_jobs, list[JobThread]()
        self._stopping = False
        self._reports = WorkerReports(self.executors, self.using)
        self._answers: list[tuple[ClaimedCall, Answer]] = []
        self._worker_id: int | None = None
        self._beat_at = 0.0
        self._looked_at, self._next_due_at = -math.inf, math.inf
        self._pause_for = _QUICK
        self._listener: Listener | None = None

    def run(self, once: bool = False, until_complete: bool = False) -> bool:
        """Works until `stop()`, for one round, or until nothing is left that this or another
        worker, or time, can advance: what waits only for people, or is paused, is left.

        Gives False if running calls had to be cut off at the end; they run again once their
        leases have run out. An error in a round is logged, and the next round begins after a
        pause; with `once` it is raised. Raises `DatabaseNotMigrated`, and ValueError for both
        options.
        """
        if once and until_complete:
            raise ValueError("Choose one: once=True for one round, or until_complete=True.")
        self._stopping = False
        drained = True
        try:
            self._begin(once=once)
            with ThreadPoolExecutor(
                TURN_THREADS, thread_name_prefix="durable_monty-turn"
            ) as threads:
                try:
                    if once:
                        self._round(threads)
                    else:
                        self._loop(threads, until_complete=until_complete)
                    self._reports.drain_begins(conf.current().DRAIN_TIMEOUT)
                    drained = self._drain(threads)
                finally:
                    self._engine.give_back()
        finally:
            self._stop_job_threads()
            drained = self.executors.stop(conf.current().DRAIN_TIMEOUT) and drained
            self._reports.drain_ends()
            drained = self._end() and drained
        return drained

    def stop(self) -> None:
        """Ends the loop after its round. Safe in a signal handler: it sets a flag, no more."""
        self._stopping = True

    def _begin(self, *, once: bool = False) -> None:
        check_migrated(self.using)
        functions = FUNCTION_REGISTRY.served_by(self._names)
        self._worker_id = operations.register_worker(
            self.executors.name, functions, using=self.using
        )
        self._beat_at, self._looked_at = time.monotonic(), -math.inf
        self._engine.start(self._worker_id)
        for jobs in self._all_jobs:
            jobs.worker_id = self._worker_id
        self.executors.start(self.using, self._worker_id, self._work_came.set)
        self._start_job_threads(once=once)
        if not any(executor.is_inline for executor in self.executors):
            self._listener = Listener(self.using, self.wake)
        logger.info(
            "worker started: number %d, executor %s",
            self._worker_id,
            self.executors.name,
            extra={"worker": self._worker_id, "executor": self.executors.name},
        )
        if self._names and not functions:
            logger.warning(
                "This worker has no functions to run. Functions are found in %s, and in "
                "DURABLE_MONTY['FUNCTION_MODULES'].",
                searched(),
            )

    def _start_job_threads(self, *, once: bool) -> None:
        def has_thread(jobs: Jobs) -> bool:
            return jobs.executor.may_block and not once

        self._jobs = [jobs for jobs in self._all_jobs if not has_thread(jobs)]
        self._job_threads = [JobThread(jobs) for jobs in self._all_jobs if has_thread(jobs)]
        for thread in self._job_threads:
            thread.start()

    def _stop_job_threads(self) -> None:
        """Lets no more calls be claimed. A thread whose engine does not answer is left behind."""
        for thread in self._job_threads:
            thread.stop(_JOBS_STOP)
        self._job_threads = []

    def _end(self) -> bool:
        """Whether all answers were recorded; if not, their calls' leases run out."""
        if self._listener is not None:
            self._listener.stop()
        if self._worker_id is None:
            return True
        try:
            self._record_answers()
        except Exception as exc:  # noqa: BLE001  (logged)
            log_calls(
                logging.ERROR,
                "answers not recorded",
                [claimed for claimed, _answer in self._answers],
                exc,
                exc,
            )
            return False
        self._cut_off()
        try:
            operations.retire_worker(self._worker_id, using=self.using)
        except Exception as exc:  # noqa: BLE001  (its work is recorded; its heartbeat runs out)
            logger.warning("worker not signed off: %s", exc, extra={"reason": str(exc)})
        logger.info(
            "worker stopped: number %d", self._worker_id, extra={"worker": self._worker_id}
        )
        return True

    def _cut_off(self) -> None:
        """Gives calls back that still run; their answers, if any come, will be refused."""
        running = (call.claim for call in self.executors.running_calls())
        claims = [ClaimedCall(*claim) for claim in running if claim is not None]
        if not claims:
            return
        try:
            operations.cut_off_calls(claims, using=self.using)
        except Error as exc:
            log_calls(logging.WARNING, "calls left to their leases", claims, exc)

    def _drain(self, threads: ThreadPoolExecutor) -> bool:
        """Whether all that was run is in the database."""
        self._stop_job_threads()
        deadline = time.monotonic() + conf.current().DRAIN_TIMEOUT
        errors = LoopErrors("Draining", self.using)
        while True:
            try:
                self._engine.drain(threads, deadline - time.monotonic())
                return self._engine.is_idle
            except Exception as exc:
                if connections[self.using].in_atomic_block:
                    raise
                time.sleep(max(0.0, min(errors.note(exc), deadline - time.monotonic())))

    def _loop(self, threads: ThreadPoolExecutor, *, until_complete: bool) -> None:
        errors = LoopErrors("A round of the worker", self.using)
        while not self._stopping:
            try:
                self._work_came.clear()
                if self._round(threads):
                    self._pause_for = _QUICK
                    continue
                if until_complete and not goes_on_by_itself(self.using):
                    return
                pause = self.idle_pause()
            except Exception as exc:
                if connections[self.using].in_atomic_block:
                    raise  # the caller's transaction, which may be broken
                # What was claimed in it comes back by its lease.
                pause = errors.note(exc)
            self._pause(pause)

    def _round(self, threads: ThreadPoolExecutor) -> bool:
        """One look at everything; whether there was something to do."""
        if settings.DEBUG:
            reset_queries()  # Django keeps every statement of a request; this one never ends
        self._beat()
        self.executors.check()
        worked = bool(self._record_answers())
        if worked:
            self._engine.wake()
        worked |= self._engine.round(threads)
        now = time.monotonic()
        is_idle = not worked and self._engine.is_idle and now - self._looked_at > _LOOK_PAUSE
        is_late = now - self._looked_at >= max(self.poll_interval, _BUSY_LOOK)
        if is_idle or is_late or now >= self._next_due_at:
            self._looked_at = now
            if self.do_timed_work():
                self._engine.wake()
                worked = True
        if self._engine.calls_came:
            self._engine.calls_came = False
            worked |= bool(self._offer_calls())
        return worked

    def do_timed_work(self) -> bool:
        """What time brings; under load not in every round."""
        limit, worked = conf.current().BATCH_SIZE, 0
        functions = FUNCTION_REGISTRY.served_by(self._names)
        due = operations.what_is_due(
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
        self._tell_job_threads()
        return bool(worked + sum(jobs.check() for jobs in self._jobs))

    def _tell_job_threads(self) -> None:
        for thread in self._job_threads:
            thread.look()

    def _offer_calls(self) -> int:
        self.executors.calls_came()
        self._tell_job_threads()
        return sum(jobs.submit() for jobs in self._jobs)

    def idle_pause(self) -> float:
        """The longer there was nothing to do, the longer."""
        if self._engine.is_quiet:
            self._pause_for = min(self._longest_pause(), 2 * self._pause_for)
        else:
            self._pause_for = min(self.poll_interval, _QUICK)
        return min(self._pause_for, self._next_due_at - time.monotonic())

    def _longest_pause(self) -> float:
        is_told = self._listener is not None and self._listener.hears
        return self.poll_interval * (LISTENING_POLL_FACTOR if is_told else 1)

    def wake(self) -> None:
        """Called in the listener's thread: something may have become due."""
        # What comes right after it is not told: the next look is soon, too.
        self._pause_for = min(self._pause_for, self.poll_interval / 2)
        self._engine.wake()
        self._work_came.set()

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            if self._work_came.wait(min(left, _STOP_LATENCY)):
                return

    def _beat(self) -> None:
        if self._worker_id and time.monotonic() - self._beat_at > HEARTBEAT.total_seconds():
            operations.beat(self._worker_id, self._reports.stuck(), using=self.using)
            self._beat_at = time.monotonic()
            operations.dismiss_replaced(self._worker_id, using=self.using)
            self._reports.unserved()

    def _record_answers(self) -> int:
        self._answers += self.executors.take_answers() + self._engine.take_answers()
        if not self._answers:
            return 0
        refused = operations.record_answers(self._answers, using=self.using)
        recorded = len(self._answers)
        self._answers.clear()  # not before: they are tried again if the database was out of reach
        for refusal in refused:
            log_refusal(refusal)
        return recorded
