"""Waiting for an execution to end, in a thread or in asyncio."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from durable_monty.exceptions import WaitTimeout
from durable_monty.models import Execution
from durable_monty.reads.executions import result_of


def pauses(timeout: float) -> Iterator[float]:
    """Yields the seconds to sleep before each poll, and 0 at the end of `timeout`."""
    deadline, pause = time.monotonic() + timeout, 0.01
    while (left := deadline - time.monotonic()) > 0:
        yield min(pause, left)
        pause = min(pause * 1.5, 0.5)
    yield 0.0


def output_of(execution: Execution, timeout: float) -> Any:
    """Returns the output of an execution. Raises `WaitTimeout` if it has not ended, and the errors
    of `result_of`."""
    if not execution.is_finished:
        raise WaitTimeout(execution.pk, execution.status, timeout)
    return result_of(execution)
