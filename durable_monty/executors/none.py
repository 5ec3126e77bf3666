from __future__ import annotations

from durable_monty.executors.table import TableExecutor
from durable_monty.models import Call


class NoExecutor(TableExecutor):
    """Runs no calls: other processes claim them (`runworker --no-cluster`)."""

    name = "none"

    def serves(self) -> tuple[str, ...]:
        return ()

    def capacity(self) -> int:
        return 0

    def submit_call(self, call: Call) -> str:
        raise NotImplementedError("This worker runs no calls.")
