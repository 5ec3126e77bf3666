"""What tests of several rooms share."""

import threading
from contextlib import contextmanager
from datetime import UTC

from django.db import connections, transaction

from durable_monty import OrchestratorService, operations
from durable_monty.models import Call, Execution, clock
from durable_monty.testing import Durable

SEVEN_CALLS = """
from asyncio import gather

first = await gather(add(x, 1), add(x, 2), add(x, 3))
second = await gather(*[double(value) for value in first])
await add(sum(first), sum(second))
"""


def seven_calls_output(x):
    return 3 * (3 * x + 6)


def run(code, functions=(), inputs=None, **options):
    """Starts a workflow, works until it needs nobody but people, and gives its execution."""
    execution_id = OrchestratorService().start_execution(code, functions, inputs, **options)
    work()
    return Execution.objects.get(pk=execution_id)


def work():
    """Works until there is nothing left to do, in this thread."""
    Durable().run_until_waiting()


def advance(execution_id):
    """One turn of one execution."""
    return OrchestratorService().process_execution(execution_id)


def claim(execution_id):
    (execution,) = operations.claim_executions(1, using="default", only=execution_id)
    return execution


def started_call():
    """A call that is due, of an execution after its first turn."""
    execution_id = OrchestratorService().start_execution("await add(1, 2)", ["add"])
    advance(execution_id)
    return Call.objects.get(execution=execution_id)


def claimed_call():
    """Such a call, and the claim on it."""
    call = started_call()
    (claimed,) = operations.claim_calls(["add"], ["default"], 1, using="default")
    return call, claimed


def stop_clock(monkeypatch, moment):
    """Stops the database's clock at an aware time, for this process."""
    monkeypatch.setattr(clock, "stopped", moment.astimezone(UTC))


@contextmanager
def held(*execution_ids):
    """Another transaction has locked these executions, as one that answers their calls does."""
    holds, leaves = threading.Event(), threading.Event()

    def hold():
        try:
            with transaction.atomic():
                list(Execution.objects.select_for_update().filter(pk__in=execution_ids))
                holds.set()
                assert leaves.wait(30)
        finally:
            connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    assert holds.wait(10)
    try:
        yield
    finally:
        leaves.set()
        thread.join()
