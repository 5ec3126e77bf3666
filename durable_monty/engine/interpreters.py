from __future__ import annotations

import os
import threading
import time
import uuid
from collections import OrderedDict
from typing import NamedTuple

from durable_monty.sandbox import Interpreter

# Seconds after which an interpreter that nobody has taken is given up. To load a snapshot instead
# takes half a millisecond.
_IDLE = 20.0


class _Kept(NamedTuple):
    turn: int
    interpreter: Interpreter
    since: float


class Interpreters:
    """The live interpreters of executions that wait, the longest unused first.

    Each occupies a sandbox process. An execution that this process claims again goes on with its
    own, unless another process has advanced it meanwhile.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[uuid.UUID, _Kept] = OrderedDict()
        self._pid = os.getpid()

    def __len__(self) -> int:
        return len(self._kept)

    def put(
        self, execution_id: uuid.UUID, turn: int, interpreter: Interpreter, limit: int
    ) -> None:
        """Keeps an interpreter that stands after `turn`, and at most `limit` in all."""
        with self._lock:
            replaced = self._kept.pop(execution_id, None)
            self._kept[execution_id] = _Kept(turn, interpreter, time.monotonic())
        if replaced:
            replaced.interpreter.close()
        self.trim(limit)

    def take(self, execution_id: uuid.UUID, turn: int) -> Interpreter | None:
        """Returns the interpreter of an execution, if it stands after `turn`."""
        if self._pid != os.getpid():  # after a fork they are the parent's
            return None
        with self._lock:
            kept = self._kept.pop(execution_id, None)
        if kept is None or kept.turn == turn:
            return kept and kept.interpreter
        kept.interpreter.close()
        return None

    def trim(self, limit: int) -> None:
        """Gives up all but `limit` interpreters."""
        while len(self._kept) > limit:
            self._give_up_first()

    def end_idle(self) -> None:
        """Gives up the interpreters that have not been used for long."""
        idle_since = time.monotonic() - _IDLE
        while (first := next(iter(self._kept.values()), None)) and first.since < idle_since:
            self._give_up_first()

    def clear(self) -> None:
        self.trim(0)

    def _give_up_first(self) -> None:
        with self._lock:
            kept = self._kept.popitem(last=False)[1] if self._kept else None
        if kept is not None:
            kept.interpreter.close()


# One for the process, like the pool of sandbox processes.
interpreters = Interpreters()
