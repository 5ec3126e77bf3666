from __future__ import annotations

import os
import threading
import time
import uuid
from collections import OrderedDict

from durable_monty.sandbox import Interpreter

# Seconds after which an interpreter that nobody has taken is given up.
_IDLE = 60.0


class Interpreters:
    """The interpreters of executions that wait, the longest unused first.

    Each occupies a sandbox process. An execution that this process claims again goes on with its
    own, unless some other process has advanced it meanwhile.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[uuid.UUID, tuple[int, Interpreter]] = OrderedDict()
        self._idle: set[uuid.UUID] = set()  # not taken since they were looked at
        self._looked_at = time.monotonic()
        self._pid = os.getpid()

    def put(
        self, execution_id: uuid.UUID, turn: int, interpreter: Interpreter, limit: int
    ) -> None:
        with self._lock:
            replaced = self._kept.pop(execution_id, None)
            self._kept[execution_id] = (turn, interpreter)
            self._idle.discard(execution_id)
        if replaced:
            replaced[1].close()
        self.trim(limit)

    def trim(self, limit: int) -> None:
        """Gives up all but `limit` of them."""
        if len(self._kept) <= limit:
            return
        with self._lock:
            evicted = [self._kept.popitem(last=False) for _ in range(len(self._kept) - limit)]
        for _execution_id, (_turn, interpreter) in evicted:
            interpreter.close()

    def end_idle(self) -> None:
        """Gives up those that nobody has taken since this was called a minute ago or more."""
        now = time.monotonic()
        if now - self._looked_at < _IDLE:
            return
        self._looked_at = now
        with self._lock:
            idle = [self._kept.pop(pk) for pk in self._idle if pk in self._kept]
            self._idle = set(self._kept)
        for _turn, interpreter in idle:
            interpreter.close()

    def take(self, execution_id: uuid.UUID, turn: int) -> Interpreter | None:
        """Its interpreter, if that stands after `turn`."""
        if self._pid != os.getpid():  # after a fork they are the parent's
            return None
        with self._lock:
            kept = self._kept.pop(execution_id, None)
        if kept is None:
            return None
        kept_turn, interpreter = kept
        if kept_turn == turn:
            return interpreter
        interpreter.close()
        return None

    def clear(self) -> None:
        with self._lock:
            kept, self._kept = self._kept, OrderedDict()
        for _turn, interpreter in kept.values():
            interpreter.close()


# One for the process, as is the pool of sandbox processes.
interpreters = Interpreters()
