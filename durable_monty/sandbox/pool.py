from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from pydantic_monty import Monty, MontySession

from durable_monty.exceptions import HostFault
from durable_monty.sandbox.types import Limits

# Beside its calls, a turn may look up names and be refused; the rest is a runaway loop.
_SPARE_SUSPENSIONS = 10_000
# A stopped or starved sandbox process is killed this long after its own limit.
_REQUEST_GRACE = 10.0

# A process with more memory than this ends with its run: it never gives memory back. Bytes.
_LARGE = 32 * 1024 * 1024
# Seconds of work that a process needs to become large. Its memory is only read after these.
_WORKED = 0.005
# Seconds after which unused processes end, except for a few: each takes 0.85 MB and two threads.
_IDLE, _FEW = 20.0, 4
# The niceness that is added to a process whose turn takes very long.
_NICER = 10


class _Pool:
    """Monty's pool, with a count of its processes that are in use."""

    def __init__(self, monty: Monty) -> None:
        self.monty = monty
        self.lock = threading.Lock()
        self.in_use = self.most = 0
        self.needed_at = time.monotonic()  # when most of its processes were in use, or few exist

    def count(self, change: int) -> None:
        with self.lock:
            self.note_need()
            self.in_use += change
            self.most = max(self.most, self.in_use)
            self.note_need()

    def note_need(self) -> None:
        if self.most <= 2 * self.in_use + _FEW:
            self.needed_at = time.monotonic()

    def needs_fewer(self) -> bool:
        """Returns whether it has had many more processes than were in use for some time."""
        with self.lock:
            self.note_need()
            return time.monotonic() - self.needed_at > _IDLE


_lock = threading.Lock()
_pool: _Pool | None = None
_is_used = False
_is_forked = False


class checkout:  # noqa: N801  (as `contextlib` names them)
    """Reserves a sandbox process, for a `with` or from `enter` to `leave`.

    The process gets the time and sleeps from the host; `options` are other options of Monty.
    Raises `HostFault` in a process that was forked after its parent had used the sandbox: the
    threads that drive it stayed in the parent, and any use in the child would hang.
    """

    def __init__(self, limits: Limits, *, seed: str = "", **options: Any) -> None:
        self._limits, self._seed, self._options = limits, seed, options
        self._gives_way = False

    def __enter__(self) -> MontySession:
        return self.enter()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()

    def enter(self) -> MontySession:
        self._pool = pool = _warm_pool(self._limits)
        try:
            self._session, session = self._begin(pool)
        except RuntimeError:
            if pool is _pool:
                raise
            self._pool = pool = _warm_pool(self._limits)  # it was replaced just now
            self._session, session = self._begin(pool)
        self._pid = session.worker_pid
        pool.count(1)
        return session

    @property
    def cpu_seconds(self) -> float | None:
        """The processor time of its process since it started; None where that is not known."""
        stat = None if self._pid is None else _stat_of(self._pid)
        return None if stat is None else stat.cpu_seconds

    def give_way(self) -> None:
        """Lowers the priority of its process until it ends: no process may raise its own."""
        if self._pid is not None and not self._gives_way and _stat_of(self._pid):
            self._gives_way = True
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._pid, _NICER)

    def leave(self, worked: float = 0.0) -> None:
        """Returns the process to the pool after it has run for `worked` seconds."""
        # A pool that was replaced keeps its processes until the last of them is returned.
        is_left_over = self._pool is not _pool
        if (worked > _WORKED or is_left_over) and self._pid is not None:
            stat = _stat_of(self._pid)
            if stat is not None and (stat.memory > _LARGE or self._gives_way or is_left_over):
                os.kill(self._pid, signal.SIGKILL)  # the pool replaces it
        self._session.__exit__(None, None, None)
        self._pool.count(-1)

    def _begin(self, pool: _Pool) -> tuple[MontySession, MontySession]:
        limits = self._limits
        session = pool.monty.checkout(
            limits={
                "max_memory": limits.memory,
                "max_turn_duration_secs": limits.turn_seconds,
                "max_suspensions": 2 * limits.calls + _SPARE_SUSPENSIONS,
            },
            os_policy={
                "sleep": "call_host",
                "datetime": "call_host",
                "random_start": {"seed": self._seed},
            },
            **self._options,
        )
        return session, session.__enter__()


def own_pool(seconds: float) -> Monty:
    """Returns a separate pool of one process, for a `with`, whose requests may take `seconds`.
    Raises `HostFault` as `checkout` does."""
    _refuse_after_fork()
    global _is_used  # noqa: PLW0603
    _is_used = True
    _note_missing("opentelemetry", "opentelemetry.context")
    return Monty(min_processes=0, max_processes=1, request_timeout=seconds + _REQUEST_GRACE)


def has_spare() -> bool:
    """Returns whether `trim` may have processes to end."""
    pool = _pool
    return pool is not None and pool.most > 2 * pool.in_use + _FEW


def trim() -> None:
    """Ends the sandbox processes that were not needed for some time. Processes in use end with
    their runs."""
    global _pool  # noqa: PLW0603
    pool = _pool
    if pool is None or _is_forked or not pool.needs_fewer():
        return
    with _lock:
        _pool = None  # Monty's pool never shrinks, so another one replaces it
    pool.monty.__exit__(None, None, None)


def _warm_pool(limits: Limits) -> _Pool:
    """Returns the pool of this process, and makes it at first use."""
    global _pool, _is_used  # noqa: PLW0603
    _refuse_after_fork()
    if (pool := _pool) is not None:
        return pool
    with _lock:
        if _pool is None:
            _is_used = True
            _note_missing("opentelemetry", "opentelemetry.context")
            _pool = _Pool(
                Monty(
                    min_processes=1,
                    max_processes=limits.processes,
                    request_timeout=limits.turn_seconds + _REQUEST_GRACE,
                    checkout_timeout=60.0,
                ).__enter__()
            )
        return _pool


class _Stat(NamedTuple):
    cpu_seconds: float
    memory: int


def _stat_of(pid: int) -> _Stat | None:
    """Reads the figures of a child process. Returns None if it has ended, or without Linux."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    if int(fields[1]) != os.getpid():
        return None
    ticks = int(fields[11]) + int(fields[12])
    return _Stat(ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))


def _refuse_after_fork() -> None:
    if _is_forked:
        raise HostFault(
            "this process was forked from one that had used the sandbox already; fork first, or "
            "start a new process"
        )


def _note_missing(package: str, module: str) -> None:
    """Notes that a package is not installed, so that Python does not search for it again."""
    # The sandbox's client imports it at every start, and the search along the whole path, under a
    # lock, was 40% of a start.
    if find_spec(package) is None:
        for name in (package, module):
            sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # "not to be found"


def _after_fork() -> None:
    # The parent's pool stays referenced: dropping it here would end the parent's workers.
    global _is_forked, _lock  # noqa: PLW0603
    _is_forked = _is_forked or _is_used or _pool is not None
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
