from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from django.db import Error, connections

from durable_monty.executors.lease import leases
from durable_monty.executors.run import Invoke, invoke_plainly, record, run_function, run_started
from durable_monty.models import Call
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.attempts import start_attempts, unstart_attempts
from durable_monty.operations.log import log_calls

# Seconds: what has not begun then is given back, as another process may be idle...
_PATIENCE = 0.25
# ... and no answer waits longer than this for others, but for those of a function that runs.
_WITHIN = 0.02


class Batch:
    """Calls that a process runs back to back: one transaction starts them all, and one records
    their answers.

    `begin` is called before each function; `may_go_on` says whether the process may run another.
    """

    def __init__(
        self,
        *,
        using: str,
        invoke: Invoke = invoke_plainly,
        begin: Callable[[ClaimedCall], None] = lambda claimed: None,
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._using, self._invoke, self._begin = using, invoke, begin
        self._may_go_on = may_go_on
        self._lock = threading.Lock()
        self._waiting: deque[Call] = deque()

    def run(self, claims: Sequence[ClaimedCall]) -> None:
        """Runs the calls whose claims still hold. Raises when the database stays out of reach;
        what is not recorded then comes back once its lease has run out."""
        calls = start_attempts(claims, using=self._using)
        if len(calls) == 1:
            self._begin(ClaimedCall.of(calls[0]))
            run_started(calls[0], using=self._using, invoke=self._invoke)
            return
        self._waiting.extend(calls)
        timer = threading.Timer(_PATIENCE, self._give_back, kwargs={"closes": True})
        timer.daemon = True
        timer.start()
        try:
            self._run_waiting()
        finally:
            timer.cancel()
            self._give_back()

    def _run_waiting(self) -> None:
        answers: list[tuple[ClaimedCall, Answer]] = []
        since = 0.0
        try:
            while self._may_go_on() and (call := self._next()) is not None:
                claimed = ClaimedCall.of(call)
                self._begin(claimed)
                with leases.held(claimed, using=self._using):
                    answers.append((claimed, run_function(call, self._using, self._invoke)))
                since = since or time.monotonic()
                if time.monotonic() - since > _WITHIN:
                    record(answers, self._using)
                    answers, since = [], 0.0
        finally:
            record(answers, self._using)

    def _next(self) -> Call | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _give_back(self, *, closes: bool = False) -> None:
        with self._lock:
            claims = [ClaimedCall.of(call) for call in self._waiting]
            self._waiting.clear()
        if not claims:
            return
        try:
            unstart_attempts(claims, using=self._using)
        except Error as exc:
            log_calls(logging.WARNING, "calls left to their leases", claims, exc)
        finally:
            if closes:  # the connection of the timer's thread
                connections.close_all()
