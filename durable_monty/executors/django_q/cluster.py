"""A cluster in the view of the main process: the sentinel, and the tree that ends with it."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time

from django.db import connections
from django_q.conf import Conf

from durable_monty import conf
from durable_monty.exceptions import ClusterNotStarted
from durable_monty.executors.django_q.board import Board
from durable_monty.executors.django_q.broker import CallSource
from durable_monty.executors.django_q.channels import Bell, Flag
from durable_monty.executors.django_q.sentinel import Links, run_sentinel

_STARTS_WITHIN = 15.0
_DIES_WITHIN = 5.0


class Cluster:
    """A running cluster.

    It replaces `django_q.cluster.Cluster`, whose signal handlers call `stop()`, which can deadlock
    there, and which waits without end for processes that may be dead.
    """

    def __init__(self, broker: CallSource, workers: int, answers: Bell) -> None:
        """Forks the cluster's processes. Raises `ClusterNotStarted`."""
        if "fork" not in multiprocessing.get_all_start_methods():
            raise ClusterNotStarted("this system cannot fork; use another executor")
        if threading.current_thread() is not threading.main_thread():
            # Its processes end with the thread that forked them.
            raise ClusterNotStarted("it must be started in the main thread of its process")
        self.board = Board(workers)
        links = Links(self.board, stop=Flag(), started=Flag(), answers=answers)
        self._stop = links.stop
        connections.close_all()  # the children must not share one
        self._process = multiprocessing.get_context("fork").Process(
            target=run_sentinel,
            args=(os.getpid(), broker, links),
            name="durable_monty-cluster",
        )
        self._process.start()
        self._beat, self._silence, self._checked_at = 0.0, 0.0, time.monotonic()
        deadline = time.monotonic() + _STARTS_WITHIN
        while not links.started.wait(0.1):
            if not self._process.is_alive():
                raise ClusterNotStarted(
                    f"its sentinel ended with exit code {self._process.exitcode}"
                )
            if time.monotonic() > deadline:
                self.kill()
                raise ClusterNotStarted(f"its sentinel was not ready after {_STARTS_WITHIN:g} s")

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def failure(self) -> str:
        """Returns why the cluster has to be replaced, or an empty text."""
        now = time.monotonic()
        # While the machine was suspended the sentinel could not beat.
        passed = min(now - self._checked_at, 1.0)
        self._checked_at = now
        if not self._process.is_alive():
            return f"its sentinel ended with exit code {self._process.exitcode}"
        beat = self.board.pulse.sentinel
        self._silence = 0.0 if beat != self._beat else self._silence + passed
        self._beat = beat
        if self._silence > max(conf.current().LEASE, 3 * float(Conf.GUARD_CYCLE)):
            return "its sentinel is frozen"
        return ""

    def drain(self, timeout: float) -> bool:
        """Lets running calls end and gives back the others. Returns False if some were killed."""
        self._stop.set()
        self._process.join(timeout)
        if self._process.is_alive():
            self.kill()
            self._process.join(_DIES_WITHIN)
        return not self.board.running_calls

    def kill(self) -> None:
        """Sends SIGKILL to the whole tree. It is safe in a signal handler."""
        self._process.kill()
