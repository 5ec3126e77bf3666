from __future__ import annotations

import os
import sys
import threading
from importlib.util import find_spec

from pydantic_monty import Monty

from durable_monty.exceptions import HostFault

_lock = threading.Lock()
_pool: Monty | None = None
_is_forked = False


def pool(processes: int, request_timeout: float) -> Monty:
    """The warm pool of this process, made at first use with these figures.

    Raises `HostFault` in a process that was forked after its parent had used the sandbox: the
    threads that drive it stayed in the parent, and any use in the child would hang.
    """
    global _pool  # noqa: PLW0603
    if _is_forked:
        raise HostFault(
            "this process was forked from one that had used the sandbox already; fork first, or "
            "start a new process"
        )
    if _pool is None:
        with _lock:
            if _pool is None:
                _note_missing("opentelemetry", "opentelemetry.context")
                _pool = Monty(
                    min_processes=1,
                    max_processes=processes,
                    request_timeout=request_timeout,
                    checkout_timeout=60.0,
                ).__enter__()
    return _pool


def _note_missing(package: str, module: str) -> None:
    """The sandbox's client imports this at every start. Python looks for what is not installed
    along the whole path, each time and under a lock: that was 40% of a start."""
    if find_spec(package) is None:
        for name in (package, module):
            sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # "not to be found"


def _after_fork() -> None:
    # The parent's pool stays referenced: dropping it here would end the parent's workers.
    global _is_forked, _lock  # noqa: PLW0603
    _is_forked = _pool is not None
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
