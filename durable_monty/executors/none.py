from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durable_monty.executors.local import TableExecutor

if TYPE_CHECKING:
    from durable_monty.models import Call


class NoExecutor(TableExecutor):
    """Runs nothing: other processes claim the calls (`runworker --no-cluster`)."""

    name = "elsewhere"

    def serves(self) -> tuple[str, ...]:
        return ()

    def capacity(self) -> int:
        return 0

    def submit_call(self, call: Call) -> str:
        raise NotImplementedError("This worker runs no calls.")

    def get_stats(self) -> dict[str, Any]:
        return {}
