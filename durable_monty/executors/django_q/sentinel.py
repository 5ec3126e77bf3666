"""The guard of a cluster: django-q2's sentinel, with children that end with it and channels that
survive the death of any child."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

from django.db import connections
from django_q.cluster import Sentinel
from django_q.conf import Conf
from django_q.monitor import monitor
from django_q.pusher import pusher
from django_q.worker import worker

from durable_monty import conf
from durable_monty.executors.django_q import task
from durable_monty.executors.django_q.board import Board, ResultChannel, Seat, TaskChannel
from durable_monty.executors.django_q.broker import CallSource
from durable_monty.executors.django_q.channels import Bell, Flag
from durable_monty.executors.django_q.lifeline import end_with
from durable_monty.functions import policy_of
from durable_monty.models import Call
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.attempts import release_calls
from durable_monty.operations.log import log_calls
from durable_monty.operations.settle import settle_attempt

logger = logging.getLogger("durable_monty")

_PUSHER_ENDS_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class Links:
    """The objects that the sentinel shares with the main process."""

    board: Board
    stop: Flag
    started: Flag
    answers: Bell


class CallSentinel(Sentinel):  # type: ignore[misc]
    def __init__(self, parent: int, broker: CallSource, links: Links) -> None:
        super().__init__(links.stop, links.started, uuid.uuid4(), broker, start=False)
        # A SIGTERM to the whole process group is for the main process, which drains. Not SIG_IGN:
        # the programs that a function starts would inherit it.
        signal.signal(signal.SIGTERM, lambda *_: None)
        self.parent_pid = parent
        self.pool_size = len(links.board.seats)
        self.board = links.board
        self.answers = links.answers
        self.event_out = Flag()
        self.task_queue = broker.tasks = TaskChannel(links.board)
        self.result_queue = ResultChannel(task.run_task)
        self._idle_since: float | None = None
        self._taken = 0

    def spawn_process(self, target: Callable[..., Any], *args: Any) -> BaseProcess:
        """Starts a child as django-q2 does, in `_run_child`."""
        seat: Seat | None = None
        if target is worker:
            taken = {id(process.seat) for process in self.pool}
            seat = next(seat for seat in self.board.seats if id(seat) not in taken)
            seat.clear()
        process = multiprocessing.get_context("fork").Process(
            target=_run_child,
            args=(self, os.getpid(), seat, target, args),
            name=f"Process-{uuid.uuid4().hex}",
        )
        process.daemon = True
        if target is worker:
            process.daemon = Conf.DAEMONIZE_WORKERS
            process.timer, process.seat = args[2], seat  # type: ignore[attr-defined]
            self.pool.append(process)
        elif target is pusher:
            self.board.pulse.pusher = time.monotonic()
        process.start()
        return process

    def reincarnate(self, process: BaseProcess) -> None:
        if process in self.pool and process.timer.value == 0:  # type: ignore[attr-defined]
            # It overran its time-out and did not react: it may run C code.
            process.kill()
            process.join(5)
            self._settle_overdue(process.seat)  # type: ignore[attr-defined]
        super().reincarnate(process)

    def status(self) -> Any:
        """Returns the status, and does the work of each round: the guard loop calls it."""
        now = time.monotonic()
        self.board.pulse.sentinel = now
        if self.start_event.is_set() and not self.stop_event.is_set():
            self._end_frozen(now)
        return super().status()

    def stop(self) -> None:
        self.event_out.set()
        if self.broker.calls_came is not None:
            self.broker.calls_came.ring()  # the pusher may wait for it
        self.pusher.join(_PUSHER_ENDS_WITHIN)
        if self.pusher.is_alive():
            self.pusher.kill()
        self._give_back()
        super().stop()

    def _settle_overdue(self, seat: Seat) -> None:
        if not seat.call:
            return
        claimed = ClaimedCall(seat.call, uuid.UUID(seat.token.decode()))
        using = self.broker.using
        try:
            call = Call.objects.using(using).get(pk=claimed.pk)
            claimed = replace(claimed, call=call)
            policy = policy_of(call)
            own = policy.timeouts.start_to_close
            _seconds, message = task.time_limit(call.function, own, float(Conf.TIMEOUT or 0))
            exc = TimeoutError(f"{message}, and did not react: its process was killed")
            retry = policy.retry_policy
            answer = Answer.of_exception(exc).under(retry, exc, call.failures + 1)
            settle_attempt(claimed, answer, using=using)
        except Exception as exc:  # noqa: BLE001  (the lease brings the call back)
            log_calls(logging.WARNING, "time-out not recorded", [claimed], exc)

    def _give_back(self) -> None:
        """Gives calls that no worker has taken to other clusters, and tasks to django-q2."""
        ours: dict[str, list[ClaimedCall]] = {}
        others = []
        for package in self.task_queue.take_back():
            if claimed := task.claims_of(package):
                ours.setdefault(claimed[1], []).extend(claimed[0])
            else:
                others.append(package)
        for using, claims in ours.items():
            try:
                release_calls(claims, using=using)
            except Exception as exc:  # noqa: BLE001  (the others are still given back)
                log_calls(logging.WARNING, "calls left to their leases", claims, exc)
        connections.close_all()
        for package in others:
            self.task_queue.put(package)

    def _end_frozen(self, now: float) -> None:
        """Kills processes without a sign of life for a lease. The guard loop replaces them."""
        lease = conf.current().LEASE
        if now - self.board.pulse.pusher > lease and self.pusher.is_alive():
            pid = self.pusher.pid
            logger.error("pusher frozen: process %s is killed", pid, extra={"pid": pid})
            self.pusher.kill()
            self.board.pulse.pusher = now
        for process in self.pool:
            # It is recycled, but its exit waits for a thread that some function started.
            if process.timer.value == -2 and now - process.seat.busy_since > lease:
                process.kill()
        idle = [process for process in self.pool if not process.seat.busy_since]
        taken = sum(seat.taken for seat in self.board.seats)
        if not idle or taken != self._taken or self.task_queue.empty():
            self._taken, self._idle_since = taken, None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since > lease:
            pids = [process.pid for process in idle]
            logger.error("workers frozen: processes %s are killed", pids, extra={"pids": pids})
            for process in idle:
                process.kill()
            self._idle_since = None


def run_sentinel(parent: int, broker: CallSource, links: Links) -> None:
    """Runs the sentinel, in the process that the main process has forked."""
    end_with(parent)
    try:
        CallSentinel(parent, broker, links).start()
    except BaseException:
        # An orderly exit would wait for children that no longer get STOP.
        logger.exception("cluster failed")
        os._exit(1)


def _run_child(
    sentinel: CallSentinel,
    parent: int,
    seat: Seat | None,
    target: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    end_with(parent)
    if seat is not None:
        sentinel.task_queue.seat = seat
        task.place = task.Place(seat, args[2], sentinel.answers)
        # `terminate()` has to end a process that a function forks, so that must not have the
        # handler. SIGTERM is blocked until it is reset.
        os.register_at_fork(
            before=partial(signal.pthread_sigmask, signal.SIG_BLOCK, {signal.SIGTERM}),
            after_in_parent=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, {signal.SIGTERM}),
            after_in_child=_default_sigterm,
        )
    elif target is monitor:
        _default_sigterm()  # the sentinel ends the monitor with it
    target(*args)


def _default_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
