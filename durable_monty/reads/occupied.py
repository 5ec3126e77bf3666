"""Calls that occupy the threads of a worker although nobody waits for them."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Self

from durable_monty.models import WorkerProcess


@dataclass(frozen=True, slots=True)
class OccupyingCall:
    function: str
    execution_id: uuid.UUID
    call_id: int

    def __str__(self) -> str:
        return f"{self.function} (call {self.call_id} of execution {self.execution_id})"


@dataclass(frozen=True, slots=True)
class OccupiedThreads:
    """What a worker wrote with its last heartbeat. `threads`: how many it has; 0: not known."""

    threads: int
    calls: tuple[OccupyingCall, ...]

    @classmethod
    def of(cls, worker: WorkerProcess) -> Self:
        found = json.loads(worker.stuck_json)
        calls = (
            OccupyingCall(call["function"], uuid.UUID(call["execution_id"]), call["call_id"])
            for call in found.get("calls", ())
        )
        return cls(found.get("threads", 0), tuple(calls))

    @property
    def are_all_occupied(self) -> bool:
        """Whether the worker cannot run anything."""
        return 0 < self.threads <= len(self.calls)
