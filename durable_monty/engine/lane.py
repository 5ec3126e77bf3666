"""The slow lane: a few threads of their own for turns that may take long."""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections import deque
from collections.abc import Callable

from django.db import Error, connections, transaction

from durable_monty.models import Execution
from durable_monty.operations.advance import advance_alone
from durable_monty.operations.log import log_execution
from durable_monty.operations.outcomes import Outcome
from durable_monty.operations.turn_input import TurnInput, input_alone


def _lanes() -> int:
    # One core is left to all other executions, if there are several.
    return max(1, min(2, (os.cpu_count() or 1) - 1))


class SlowLane:
    """Reads journals and runs turns in threads of its own, because both may take long.

    Only the worker's thread calls its public methods. It calls `wake` when a turn has ended.
    """

    def __init__(self, wake: Callable[[], None], using: str) -> None:
        self._wake, self._using = wake, using
        self._lock = threading.Lock()
        self._threads = 0
        self._waiting: deque[tuple[Execution, TurnInput | None]] = deque()
        self._ended: deque[tuple[Execution, Outcome | None]] = deque()
        self._claimed: dict[uuid.UUID, Execution] = {}

    @property
    def claimed(self) -> list[Execution]:
        return list(self._claimed.values())

    @property
    def has_room(self) -> bool:
        return len(self._claimed) < _lanes()

    def begin(self, execution: Execution) -> None:
        self._claimed[execution.pk] = execution
        given = None
        if transaction.get_connection(self._using).in_atomic_block:
            # Another thread does not see the rows of this transaction, which a test may have.
            given = input_alone(execution, self._using).read()
        self._waiting.append((execution, given))
        with self._lock:
            if self._threads >= _lanes():
                return
            self._threads += 1
        # A daemon: a turn that takes long must not keep the process from ending.
        threading.Thread(target=self._work, name="durable_monty-slow", daemon=True).start()

    def take_ended(self) -> list[tuple[Execution, Outcome | None]]:
        """Returns executions with their outcomes: None, if the database could not be read."""
        ended = [self._ended.popleft() for _ in range(len(self._ended))]
        for execution, _outcome in ended:
            if self._claimed.get(execution.pk) is execution:
                del self._claimed[execution.pk]
        return ended

    def clear(self) -> None:
        """Forgets all executions. The outcomes of turns that still run are not used."""
        self._waiting.clear()
        self._claimed.clear()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                execution, given = self._waiting.popleft()
            outcome: Outcome | None = None
            try:
                outcome = advance_alone(given or input_alone(execution, self._using))
            except Error as exc:
                log_execution(logging.WARNING, "execution is given back", execution, exc)
            finally:
                connections.close_all()
            self._ended.append((execution, outcome))
            self._wake()
