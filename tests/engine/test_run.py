"""Executions that a worker holds in memory, between two commits."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from durable_monty import LocalExecutor, Worker, operations
from durable_monty.models import Call
from tests.processes import completed, until
from tests.support import claim


@pytest.mark.django_db(transaction=True)
def test_execution_that_is_claimed_anew_while_it_is_still_held(service, register, move_clock):
    """Its worker stood still beyond the lease, another went on with it, and gave it up."""
    started, may_end = threading.Event(), threading.Event()

    def slow():
        started.set()
        assert may_end.wait(20)
        return "of the lost claim"

    register("slow", slow)
    execution_id = service.start_execution("[await slow(), await add(1, 2)]", ["slow", "add"])
    executor = LocalExecutor(2)
    worker = Worker(service, executor)
    with ThreadPoolExecutor(2) as threads:
        worker.round()
        assert started.wait(20)
        move_clock(61)
        operations.advance_executions([claim(execution_id)], using="default", threads=threads)
        service.complete_call(execution_id, 0, "by hand")
        may_end.set()
        until(lambda: worker._engine._turns.finished, "the turn of the lost claim has ended")
        until(lambda: worker.round() and completed(execution_id), "it is completed")
        worker._engine.drain(5)
    assert executor.stop(5)
    assert service.get_result(execution_id) == ["by hand", 3]
    assert worker.is_idle
    assert list(Call.objects.order_by("call_id").values_list("result", flat=True)) == [
        '"by hand"',
        "3",
    ]
