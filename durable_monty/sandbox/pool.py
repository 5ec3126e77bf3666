from __future__ import annotations

import os
import threading

from pydantic_monty import Monty

_lock = threading.Lock()
_pools: dict[int, Monty] = {}


def pool(processes: int, request_timeout: float) -> Monty:
    """The warm pool of this process, made at first use with these figures.

    A pool made before `fork()` hangs in the child, so each process has its own; the parent's is
    kept, untouched, in a child's memory, because dropping it would end the parent's workers.
    """
    pid = os.getpid()
    if pid not in _pools:
        with _lock:
            if pid not in _pools:
                _pools[pid] = Monty(
                    min_processes=1,
                    max_processes=processes,
                    request_timeout=request_timeout,
                    checkout_timeout=60.0,
                ).__enter__()
    return _pools[pid]


def _renew_lock() -> None:
    global _lock  # noqa: PLW0603  (a lock held by another thread at fork stays held for ever)
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
