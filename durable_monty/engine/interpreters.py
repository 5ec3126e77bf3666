from __future__ import annotations

import os
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from durable_monty.models import Execution
from durable_monty.sandbox import Interpreter

# Seconds after which an interpreter that is not used is closed. To load a snapshot instead takes
# half a millisecond.
_IDLE = 20.0


class _Kept(NamedTuple):
    turn: int
    interpreter: Interpreter
    since: float


class Interpreters:
    """The live interpreters of executions that wait, in the order of their last use.

    Each occupies a sandbox process. When this process claims an execution again, it goes on with
    its interpreter, unless another process has advanced the execution meanwhile.
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
        """Keeps an interpreter that has run `turn`, and at most `limit` interpreters in all."""
        with self._lock:
            replaced = self._kept.pop(execution_id, None)
            self._kept[execution_id] = _Kept(turn, interpreter, time.monotonic())
        if replaced:
            replaced.interpreter.close()
        self.trim(limit)

    def take_all(self, executions: Iterable[Execution]) -> dict[uuid.UUID, Interpreter]:
        """Returns the interpreters that are kept of executions, by the executions' ids."""
        begun = [execution for execution in executions if execution.turn]
        taken = {execution.pk: self.take(execution.pk, execution.turn) for execution in begun}
        return {pk: interpreter for pk, interpreter in taken.items() if interpreter is not None}

    def take(self, execution_id: uuid.UUID, turn: int) -> Interpreter | None:
        """Returns the interpreter of an execution, if `turn` is the last that it has run."""
        if self._pid != os.getpid():  # after a fork they are the parent's
            return None
        with self._lock:
            kept = self._kept.pop(execution_id, None)
        if kept is None or kept.turn == turn:
            return kept and kept.interpreter
        kept.interpreter.close()
        return None

    def trim(self, limit: int) -> None:
        """Closes all interpreters except the `limit` that were used last."""
        while len(self._kept) > limit:
            self._close_first()

    def end_idle(self) -> None:
        """Closes the interpreters that have not been used for some time."""
        idle_since = time.monotonic() - _IDLE
        while (first := next(iter(self._kept.values()), None)) and first.since < idle_since:
            self._close_first()

    def clear(self) -> None:
        self.trim(0)

    def _close_first(self) -> None:
        with self._lock:
            kept = self._kept.popitem(last=False)[1] if self._kept else None
        if kept is not None:
            kept.interpreter.close()


# One for the process, like the pool of sandbox processes.
interpreters = Interpreters()
