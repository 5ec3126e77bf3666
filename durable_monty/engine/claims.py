from __future__ import annotations

import time

from durable_monty import operations
from durable_monty.models import Execution, Program
from durable_monty.operations.shortcuts import shortcuts_of

# Seconds between queries for executions that were lost before.
_LOST_INTERVAL = 0.25
# Seconds for which programs are kept. A program only changes once, when it gets its dictionary.
_FRESH = 1.0


class Claims:
    """Claims executions for a worker, with the shortcut of its database if there is one."""

    def __init__(self, using: str) -> None:
        self.using = using
        self._programs: dict[int, Program] = {}
        self._programs_until = self._lost_at = 0.0

    def take(self, limit: int, worker_id: int | None) -> list[Execution]:
        """Claims due executions, except those that were lost before or whose last run failed."""
        claimed = shortcuts_of(self.using).claim_executions(limit, worker_id)
        if claimed is None:
            return operations.claim_executions(
                limit, using=self.using, worker_id=worker_id, fresh=True
            )
        if claimed and time.monotonic() > self._programs_until:
            self._programs, self._programs_until = {}, time.monotonic() + _FRESH
        for execution in claimed:
            pk = execution.program_id
            if pk not in self._programs:
                self._programs[pk] = Program.objects.using(self.using).get(pk=pk)
            execution.program = self._programs[pk]
        return claimed

    def take_lost(self, worker_id: int | None, *, now: bool = False) -> Execution | None:
        """Claims an execution that was lost before or whose last run failed, if it is time to
        query for one. `now` queries in any case."""
        if not now and time.monotonic() < self._lost_at:
            return None
        lost = operations.claim_lost(using=self.using, worker_id=worker_id)
        self._lost_at = 0.0 if lost else time.monotonic() + _LOST_INTERVAL
        return lost
