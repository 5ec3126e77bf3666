from __future__ import annotations

import atexit
import logging
import threading
import time
import uuid
from collections import deque
from typing import Any

from django.utils.module_loading import import_string
from django_q.conf import Conf

from durable_monty.exceptions import ClusterNotStarted
from durable_monty.executors.django_q.board import Board
from durable_monty.executors.django_q.broker import NAME, CallBroker, CallSource
from durable_monty.executors.django_q.channels import Bell
from durable_monty.executors.django_q.cluster import Cluster
from durable_monty.executors.table import TableExecutor
from durable_monty.models import Call
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.attempts import release_calls
from durable_monty.operations.running import RunningCall

logger = logging.getLogger("durable_monty")

_MAX_RESTARTS, _IN_SECONDS = 6, 60.0


class DjangoQExecutor(TableExecutor):
    """Runs calls in a django-q2 cluster of `workers` processes, Q_CLUSTER["workers"] by default.

    The cluster claims due calls and records their answers itself. This object lives in the main
    process. It starts the cluster, replaces it when it dies or freezes, and ends it.
    """

    name = NAME

    def __init__(self, workers: int | None = None) -> None:
        super().__init__()
        self.threads = self.workers = workers or int(Conf.WORKERS)
        self._worker_id: int | None = None
        self._cluster: Cluster | None = None
        self._board: Board | None = None
        self._calls_came, self._answers_came = Bell(), Bell()
        self._listening = False
        self._restarts = 0
        self._restarted_at: deque[float] = deque(maxlen=_MAX_RESTARTS)

    def running_calls(self) -> list[RunningCall]:
        """Returns the calls in the cluster's seats, also after the cluster was killed."""
        if self._board is None:
            return []
        seats = {
            seat.call: (seat.busy_since, uuid.UUID(seat.token.decode()))
            for seat in self._board.seats
            if seat.call
        }
        if not seats:
            return []
        calls = Call.objects.using(self.using).only(
            "execution_id", "call_id", "function", "attempt"
        )
        return [RunningCall(call, *seats[pk]) for pk, call in calls.in_bulk(list(seats)).items()]

    def capacity(self) -> int:
        return 0

    def submit_call(self, call: Call) -> str:
        """Leaves a call that somebody claimed by hand to the cluster."""
        if call.claim is not None:
            release_calls([ClaimedCall.of(call)], using=self.using)
        self.calls_came()
        return str(call.pk)

    def get_stats(self) -> dict[str, Any]:
        cluster = self._cluster
        return {
            "cluster": cluster.pid if cluster else None,
            "alive": cluster is not None and cluster.is_alive(),
            "workers": self.workers,
            "running": cluster.board.running_calls if cluster else 0,
            "restarts": self._restarts,
        }

    def start(self, using: str, worker_id: int | None) -> None:
        """Closes all database connections and starts the cluster. Raises `ClusterNotStarted`."""
        super().start(using, worker_id)
        self._worker_id = worker_id
        self._start_cluster()
        atexit.register(self.kill)
        self._listening = True

        def listen() -> None:
            while self._listening:
                if self._answers_came.wait():
                    self.wake()

        threading.Thread(target=listen, name="durable_monty-answers", daemon=True).start()

    def calls_came(self) -> None:
        self._calls_came.ring()

    def check(self) -> None:
        if self._cluster is None or not (why := self._cluster.failure()):
            return
        now, restarts = time.monotonic(), self._restarted_at
        if len(restarts) == _MAX_RESTARTS and now - restarts[0] < _IN_SECONDS:
            return
        restarts.append(now)
        self._restarts += 1
        logger.error(
            "cluster replaced: process %d, since %s; replaced %d times",
            self._cluster.pid,
            why,
            self._restarts,
            extra={"pid": self._cluster.pid, "reason": why, "restarts": self._restarts},
        )
        self._cluster.kill()
        try:
            self._start_cluster()
        except ClusterNotStarted as exc:
            logger.critical("cluster not replaced yet: %s", exc, extra={"reason": str(exc)})

    def stop(self, timeout: float) -> bool:
        drained = self._cluster is None or self._cluster.drain(timeout)
        self._cluster = None
        atexit.unregister(self.kill)
        self._listening = False
        self._answers_came.ring()
        return drained

    def kill(self) -> None:
        if self._cluster is not None:
            self._cluster.kill()

    def _start_cluster(self) -> None:
        # The project's own broker, if it serves calls: then its tasks run in this cluster too.
        configured = import_string(Conf.BROKER_CLASS) if Conf.BROKER_CLASS else None
        if isinstance(configured, type) and issubclass(configured, CallSource):
            broker: CallSource = configured()
        else:
            broker = CallBroker()
        broker.using, broker.worker_id = self.using, self._worker_id
        broker.calls_came = self._calls_came
        self._cluster = Cluster(broker, self.workers, self._answers_came)
        self._board = self._cluster.board
