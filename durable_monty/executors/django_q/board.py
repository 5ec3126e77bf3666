"""The memory that the processes of a cluster share: the work of each process and its start.

Each field is a machine word with one writer at a time, so it needs no lock. Times are of
`time.monotonic()`, which is the same clock in all processes of a machine.
"""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator
from typing import Any

from durable_monty.executors.django_q.channels import Channel

# A worker is quick if its tasks take at most so many seconds. So many tasks may wait for it.
_QUICK = 0.1
_AHEAD = 4
# A task has as many calls as end within so many seconds, because starting and ending a task takes
# about as long. It never has more calls than this.
_TASK = 0.01
_AT_ONCE = 32


class Seat(ctypes.Structure):
    """The place of one worker. The worker that replaces it takes the place over."""

    _fields_ = (
        ("taken", ctypes.c_longlong),  # the number of tasks that it took
        ("busy_since", ctypes.c_double),  # 0: it waits for a task
        ("last_took", ctypes.c_double),  # seconds of its last task, database included
        ("function_took", ctypes.c_double),  # seconds of its last call
        ("call", ctypes.c_longlong),  # the primary key of the running call; 0: none
        ("token", ctypes.c_char * 32),
    )

    def take(self) -> None:
        self.busy_since = time.monotonic()
        self.taken += 1

    def rest(self) -> None:
        if self.busy_since:
            self.last_took = time.monotonic() - self.busy_since
        self.call = 0
        self.busy_since = 0

    def clear(self) -> None:
        """Prepares the place for a new worker, which does not count as quick yet."""
        self.call = 0
        self.busy_since = 0
        self.last_took = math.inf
        self.function_took = math.inf

    def is_quick(self, now: float) -> bool:
        running = now - self.busy_since if self.busy_since else 0
        return max(self.last_took, running) < _QUICK


class Pulse(ctypes.Structure):
    _fields_ = (
        ("sentinel", ctypes.c_double),  # the last round of its guard loop
        ("pusher", ctypes.c_double),  # the last round of its loop
        ("put", ctypes.c_longlong),  # the number of tasks that were put for the workers
        ("put_at", ctypes.c_double),
    )


class Board:
    def __init__(self, workers: int) -> None:
        context = multiprocessing.get_context("fork")
        self.seats: list[Seat] = list(context.RawArray(Seat, workers))
        self.pulse: Any = context.RawValue(Pulse)
        for seat in self.seats:
            seat.clear()

    @property
    def running_calls(self) -> int:
        return sum(1 for seat in self.seats if seat.call)


class TaskChannel(Channel):
    """The channel from the pusher to the workers. It knows how many more tasks they could start
    soon."""

    def __init__(self, board: Board) -> None:
        super().__init__()
        self._board = board
        self.seat: Seat | None = None

    def beat(self) -> None:
        self._board.pulse.pusher = time.monotonic()

    def put(self, message: Any) -> None:
        super().put(message)
        self._board.pulse.put += 1
        self._board.pulse.put_at = time.monotonic()

    def get(self, *, block: bool = True) -> Any:
        if self.seat is None:
            return super().get(block=block)
        self.seat.rest()
        message = super().get(block=block)
        self.seat.take()
        return message

    def take_back(self) -> Iterator[Any]:
        """Yields the tasks that no worker has taken yet, and removes them."""
        while True:
            try:
                yield self.get(block=False)
            except BlockingIOError:
                return

    def room(self) -> int:
        """Returns how many more tasks to put: one for each idle worker and some for quick ones."""
        # Not more: the lease of a call counts from its claim, and another process could have run
        # a call that waits here behind a long one.
        now, pulse = time.monotonic(), self._board.pulse
        seats = self._board.seats
        wanted = sum((not seat.busy_since) + _AHEAD * seat.is_quick(now) for seat in seats)
        waiting = pulse.put - sum(seat.taken for seat in seats)
        if waiting and now - pulse.put_at > 1 and self.empty():
            # Some process was killed between a message and its count.
            pulse.put -= waiting
            waiting = 0
        waiting = max(0, waiting)
        # None until half of them are taken: a claim of many costs little more than a claim of one.
        return 0 if 2 * waiting > wanted else wanted - waiting

    def calls_at_once(self) -> int:
        """Returns how many calls a task may have."""
        slowest = max(seat.function_took for seat in self._board.seats)
        return max(1, int(min(_AT_ONCE, _TASK / max(slowest, 1e-6))))


class ResultChannel(Channel):
    """The channel from the workers to the monitor. Results of calls do not travel: the workers
    have recorded them."""

    def __init__(self, ours: Callable[..., Any]) -> None:
        super().__init__()
        self._ours = ours

    def put(self, message: Any) -> None:
        if isinstance(message, dict) and message.get("func") is self._ours:
            return
        try:
            super().put(message)
        except Exception as exc:  # noqa: BLE001
            # The value cannot be pickled. django-q2's own queue would drop it in silence.
            super().put({**message, "result": f"{type(exc).__name__}: {exc}", "success": False})
