"""Reports of a worker about itself: log records, and the stuck calls in its row."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Collection
from typing import Any

from django.db import connections
from django.utils.translation import override

from durable_monty.executors.group import ExecutorGroup
from durable_monty.functions import searched
from durable_monty.models.clock import database_now
from durable_monty.models.worker_process import HEARTBEAT
from durable_monty.operations.log import facts_of, log_call
from durable_monty.operations.running import RunningCall, abandoned, named
from durable_monty.reads.fleet import find_unserved, read_fleet
from durable_monty.wording.calls import obstacle_text

logger = logging.getLogger("durable_monty")

# Seconds between two records about what a drain waits for.
_DRAIN_INTERVAL = 10.0


class WorkerReports:
    """Logs each thing once, and again if it comes back."""

    def __init__(self, executors: ExecutorGroup, using: str) -> None:
        self._executors, self._using = executors, using
        self._unserved: set[str] = set()
        self._stuck: set[tuple[uuid.UUID, int, int]] = set()
        self._drained = threading.Event()

    def started(self, worker_id: int, functions: Collection[str]) -> None:
        """Logs the start, and a warning if the worker has no functions for its executors."""
        name = self._executors.name
        facts = {"worker": worker_id, "executor": name}
        logger.info("worker started: number %d, executor %s", worker_id, name, extra=facts)
        if self._executors.serves() and not functions:
            logger.warning(
                "This worker has no functions to run. Functions are found in %s, and in "
                "DURABLE_MONTY['FUNCTION_MODULES'].",
                searched(),
            )

    def unserved(self) -> None:
        """Logs each function whose calls no running worker takes."""
        now = database_now(self._using)
        fleet = read_fleet(now, self._using)
        found = find_unserved(fleet, now, self._using)
        for group in found:
            if group.function not in self._unserved:
                with override(None):  # a log is in English
                    why = obstacle_text(group, fleet)
                text = "%s%s; calls that wait for it: %d"
                facts = {"function": group.function, "reason": why}
                logger.warning(text, why[:1].upper(), why[1:], group.count, extra=facts)
        self._unserved = {group.function for group in found}

    def stuck(self) -> dict[str, Any]:
        """Logs the calls that still run although nobody waits for them, and returns them for
        `WorkerProcess.stuck_json`."""
        least = HEARTBEAT.total_seconds()
        running = [each for each in self._executors.running_calls() if each.seconds >= least]
        found = abandoned(running, using=self._using) if running else []
        threads = self._executors.threads
        for each in found:
            if each.key not in self._stuck:
                why = f"it occupies one of {threads} threads until it ends"
                what = "call still runs, and nobody waits for it"
                log_call(logging.WARNING, what, each.call, why)
        self._stuck = {each.key for each in found}
        if not found:
            return {}
        calls = [facts_of(each.call) | {"seconds": round(each.seconds)} for each in found]
        return {"threads": threads, "calls": calls}

    def drain_begins(self, timeout: float) -> None:
        """Logs the calls that the worker waits for, at once and then until `drain_ends`."""
        self._drained.clear()
        if running := self._running():
            text = "worker drains, for at most %g s; it waits for %s"
            logger.info(text, timeout, named(running))
        threading.Thread(target=self._watch, name="durable_monty-drain", daemon=True).start()

    def drain_ends(self) -> None:
        """Logs the calls that were cut off."""
        self._drained.set()
        if running := self._running():
            calls = [str(each) for each in running]
            text = "worker cuts off what will be run again: %s"
            logger.warning(text, named(running), extra={"calls": calls})

    def _running(self) -> list[RunningCall]:
        try:  # a worker also ends while the database is out of reach
            return self._executors.running_calls()
        except Exception as exc:  # noqa: BLE001  (logged)
            logger.warning("running calls are not known: %s", exc, extra={"reason": str(exc)})
            return []

    def _watch(self) -> None:
        try:
            while not self._drained.wait(_DRAIN_INTERVAL):
                if running := self._running():
                    logger.info("worker still drains; it waits for %s", named(running))
        finally:
            connections.close_all()
