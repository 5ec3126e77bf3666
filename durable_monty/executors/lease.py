from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

from durable_monty import conf
from durable_monty.executors.thread_pool import keep_running
from durable_monty.loop_errors import LoopErrors
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.attempts import renew_calls


class LeaseKeeper:
    """Renews the leases of the calls that run in this process.

    It has a daemon thread and a connection only while some call outlives a third of its lease:
    short calls cost nothing.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._running: dict[ClaimedCall, str] = {}
        self._thread: threading.Thread | None = None
        self._errors: dict[str, LoopErrors] = {}

    def hold(self, claimed: ClaimedCall, *, using: str) -> None:
        # Threads do not survive a fork, and a lock may be locked for ever after it.
        if self._pid != os.getpid():
            self._reset()
        with self._changed:
            self._running[claimed] = using
            self._thread = keep_running(self._thread, self._renew, "durable_monty-leases")

    def release(self, claimed: ClaimedCall) -> None:
        with self._changed:
            self._running.pop(claimed, None)
            self._changed.notify_all()

    @contextmanager
    def kept(self, claimed: ClaimedCall, *, using: str) -> Iterator[None]:
        self.hold(claimed, using=using)
        try:
            yield
        finally:
            self.release(claimed)

    def _renew(self) -> None:
        try:
            while True:
                with self._changed:
                    idle = self._changed.wait_for(
                        lambda: not self._running, timeout=conf.current().LEASE / 3
                    )
                    running = dict(self._running)
                    if idle or not running:
                        self._thread = None
                        return
                for using in set(running.values()):
                    claims = [claimed for claimed, alias in running.items() if alias == using]
                    try:
                        renew_calls(claims, using=using)
                    except Exception as exc:  # noqa: BLE001  (noted)
                        # The next round tries again. Two may fail before a lease runs out.
                        errors = LoopErrors("Renewing leases", using)
                        self._errors.setdefault(using, errors).note(exc)
        finally:
            connections.close_all()


leases = LeaseKeeper()
