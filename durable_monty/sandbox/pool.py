from __future__ import annotations

import os
import sys
import threading
from importlib.util import find_spec
from typing import Any

from pydantic_monty import Monty, MontySession

from durable_monty.exceptions import HostFault
from durable_monty.sandbox.journal import Limits

# Beside its calls, a turn may look up names and be refused; the rest is a runaway loop.
_SPARE_SUSPENSIONS = 10_000
# A stopped or starved sandbox process is killed this long after its own limit.
_REQUEST_GRACE = 10.0

_lock = threading.Lock()
_pool: Monty | None = None
_is_used = False
_is_forked = False


def checkout(limits: Limits, *, seed: str = "", **options: Any) -> MontySession:
    """A sandbox process of its own, within a `with` of what this gives.

    It asks for the time and for sleeps instead of having them; `options`: others of Monty's.
    Raises `HostFault` in a process that was forked after its parent had used the sandbox: the
    threads that drive it stayed in the parent, and any use in the child would hang.
    """
    return _warm_pool(limits).checkout(
        limits={
            "max_memory": limits.memory,
            "max_turn_duration_secs": limits.turn_seconds,
            "max_suspensions": 2 * limits.calls + _SPARE_SUSPENSIONS,
        },
        os_policy={
            "sleep": "call_host",
            "datetime": "call_host",
            "random_start": {"seed": seed},
        },
        **options,
    )


def own_pool(seconds: float) -> Monty:
    """Returns a pool of one process beside the usual one, for a `with`. `seconds`: the time limit
    of a request. Raises `HostFault` as `checkout` does."""
    _refuse_after_fork()
    global _is_used  # noqa: PLW0603
    _is_used = True
    _note_missing("opentelemetry", "opentelemetry.context")
    return Monty(min_processes=0, max_processes=1, request_timeout=seconds + _REQUEST_GRACE)


def _warm_pool(limits: Limits) -> Monty:
    """That of this process, made at first use."""
    global _pool  # noqa: PLW0603
    _refuse_after_fork()
    if _pool is None:
        with _lock:
            if _pool is None:
                _note_missing("opentelemetry", "opentelemetry.context")
                _pool = Monty(
                    min_processes=1,
                    max_processes=limits.processes,
                    request_timeout=limits.turn_seconds + _REQUEST_GRACE,
                    checkout_timeout=60.0,
                ).__enter__()
    return _pool


def _refuse_after_fork() -> None:
    if _is_forked:
        raise HostFault(
            "this process was forked from one that had used the sandbox already; fork first, or "
            "start a new process"
        )


def _note_missing(package: str, module: str) -> None:
    """The sandbox's client imports this at every start. Python looks for what is not installed
    along the whole path, each time and under a lock: that was 40% of a start."""
    if find_spec(package) is None:
        for name in (package, module):
            sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # "not to be found"


def _after_fork() -> None:
    # The parent's pool stays referenced: dropping it here would end the parent's workers.
    global _is_forked, _lock  # noqa: PLW0603
    _is_forked = _is_forked or _is_used or _pool is not None
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
