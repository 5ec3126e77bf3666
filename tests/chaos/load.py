"""Workflows, a fixed number of them at a time, and the people who answer them."""

import time
from contextlib import suppress

from django.db import InterfaceError, OperationalError, connection

from durable_monty import Call, Execution, OrchestratorService
from durable_monty.exceptions import CallSettled, ExecutionFinished
from tests.chaos.workflows import FUNCTIONS, approval_of, kind_of

_AT_A_TIME = 48
# Seconds without a database after which nobody waits for it any more.
_PATIENCE = 60.0


class Load:
    def __init__(self):
        self.service = OrchestratorService()
        self.started = 0
        self.finished = 0

    @property
    def running(self):
        return self.started - self.finished

    def go_on(self, limit):
        """One look. `limit`: how many workflows may have been started after it."""
        self.finished = insist(Execution.objects.exclude(finished_at=None).count)
        while self.started < limit and self.running < _AT_A_TIME:
            insist(self._start)
            self.started += 1
        insist(self._answer)

    def _start(self):
        # A commit whose acknowledgement is lost is tried again: the key makes it one.
        kind, n = kind_of(self.started), self.started
        self.service.start_execution(
            kind.source, FUNCTIONS, {"n": n}, key=f"chaos {n}", name=kind.name
        )

    def _answer(self):
        waiting = Call.objects.open().filter(function="chaos_approve")
        for call in waiting.select_related("execution"):
            execution = call.execution
            n = int(execution.key.split()[1])
            if execution.name == "cancellations":
                with suppress(ExecutionFinished):
                    self.service.cancel_execution(execution.pk, "not needed", grace=3600)
            else:
                with suppress(CallSettled):
                    self.service.complete_call(execution.pk, call.call_id, approval_of(n))


def insist(action):
    """Does it again while the database is out of reach."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return action()
        except (OperationalError, InterfaceError):
            if time.monotonic() > deadline:
                raise
            connection.close()
            time.sleep(0.1)
