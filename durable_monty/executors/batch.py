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

# Seconds until calls that have not started are given back: another process may be idle.
_GIVE_BACK_AFTER = 0.25
# Seconds that an answer waits for others. A running function may make it wait for longer.
_RECORD_WITHIN = 0.02


class Batch:
    """Calls that a process runs one after another. One transaction starts them all, and one
    records their answers.

    `begin` is called before each function. `may_go_on` says whether another one may run.
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
        """Runs the calls whose claims still hold.

        Raises if the database stays out of reach. Calls whose answers are not recorded then come
        back when their leases have run out.
        """
        calls = start_attempts(claims, using=self._using)
        if len(calls) == 1:
            self._begin(ClaimedCall.of(calls[0]))
            run_started(calls[0], using=self._using, invoke=self._invoke)
            return
        self._waiting.extend(calls)
        timer = threading.Timer(_GIVE_BACK_AFTER, self._give_back, kwargs={"closes": True})
        timer.daemon = True
        timer.start()
        answers: list[tuple[ClaimedCall, Answer]] = []
        since = 0.0
        try:
            while self._may_go_on():
                with self._lock:  # the timer's thread gives calls back
                    if not self._waiting:
                        break
                    call = self._waiting.popleft()
                claimed = ClaimedCall.of(call)
                self._begin(claimed)
                with leases.kept(claimed, using=self._using):
                    answers.append((claimed, run_function(call, self._using, self._invoke)))
                since = since or time.monotonic()
                if time.monotonic() - since > _RECORD_WITHIN:
                    record(answers, self._using)
                    answers, since = [], 0.0
        finally:
            try:
                record(answers, self._using)
            finally:
                timer.cancel()
                self._give_back()

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
