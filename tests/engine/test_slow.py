"""Turns that take long: nothing else waits for them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.db import connection

from durable_monty import LocalExecutor, Worker
from durable_monty.models import Call, Execution, Snapshot
from durable_monty.sandbox import failures as module
from durable_monty.sandbox.interpreter import Interpreter
from tests.processes import PATIENCE, runworker, start, until
from tests.support import run

LOOPS = {
    "at once": "while True: pass",
    "after a call": "await add(1, 2)\nwhile True: pass",
}


@pytest.fixture
def runs(monkeypatch):
    """The threads that ran into a limit of the sandbox."""
    threads, failure_of = [], module.failure_of

    def noted(exc, log_bytes):
        failure = failure_of(exc, log_bytes)
        threads.extend([threading.current_thread()] if failure.limit else [])
        return failure

    monkeypatch.setattr(module, "failure_of", noted)
    return threads


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("loop", LOOPS)
def test_neighbours_of_loops_end_before_the_second_of_them(service, tmp_path, loop):
    loops = [service.start_execution(LOOPS[loop], ["add"]) for _ in range(20)]
    with runworker(tmp_path, "--executor", "local", settings={"DRAIN_TIMEOUT": 1}) as worker:
        neighbours = [start(x) for x in range(50)]
        completed = Execution.objects.filter(pk__in=neighbours, status="completed")
        worker.until(lambda: completed.count() == 50, "the neighbours are done")
        assert Execution.objects.filter(pk__in=loops, status="failed").count() < 2
        worker.signal(15)
        # Turns were cut off, or had reached their limit by then.
        assert worker.popen.wait(PATIENCE) in (3, 0)
    left = Execution.objects.filter(pk__in=loops).exclude(status="failed")
    assert set(left.values_list("claim", flat=True)) == {None}
    assert max(left.values_list("faults", flat=True)) <= 1
    assert not left.filter(due_at=None).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lease", [60, 0.6])
@pytest.mark.parametrize("loop", LOOPS)
def test_broken_limit_costs_two_runs_in_threads_beside_the_loop(
    service, durable_settings, runs, loop, lease
):
    """Also where a run takes longer than a lease."""
    durable_settings(MAX_TURN_SECONDS=1, LEASE=lease)
    execution_id = service.start_execution(LOOPS[loop], ["add"])
    Worker(service, LocalExecutor(2)).run(until_complete=True)
    execution = Execution.objects.get(pk=execution_id)
    assert (execution.status, execution.error_type) == ("failed", "TimeoutError")
    assert len(runs) == 2
    assert threading.current_thread() not in runs
    assert set(Call.objects.values_list("attempt", flat=True)) <= {1}


@pytest.mark.django_db(transaction=True)
def test_execution_that_was_lost_is_found_behind_much_that_is_due(service, move_clock):
    """Its worker vanished, and the others never run out of work."""
    lost = service.start_execution("await add(1, 2)", ["add"])
    Execution.objects.filter(pk=lost).update(claim=lost, faults=1)
    move_clock(1)
    for x in range(30):
        start(x)
    worker = Worker(service, LocalExecutor(2))
    claims = worker._engine._claims
    assert str(claims.take_lost(None).pk) == lost
    assert len(claims.take(100, None)) == 30


@pytest.mark.django_db
def test_turn_in_a_transaction_of_the_caller_is_run_again_too(durable_settings):
    """A test's: no other connection sees what it writes."""
    durable_settings(MAX_TURN_SECONDS=0.3)
    assert run("await add(1, 2)\nwhile True: pass", ["add"]).error_type == "TimeoutError"


@pytest.mark.django_db(transaction=True)
def test_long_journal_is_replayed_beside_the_loop(service, monkeypatch):
    source = "total = 0\nfor i in range(70): total += await add(i, 0)\nawait approve(total)"
    execution_id = service.start_execution(source, ["add", "approve"])
    worker = Worker(service, LocalExecutor(2))
    patient = partial(until, lambda: Call.objects.filter(function="approve").exists(), "it waits")
    with ThreadPoolExecutor(1) as threads:
        waits = threads.submit(lambda: (patient(), worker.stop(), connection.close()))
        worker.run()
        waits.result()
    Snapshot.objects.all().delete()
    resumed, resume = [], Interpreter.resume

    def noted(self, answers):
        resumed.append(threading.current_thread().name)
        return resume(self, answers)

    monkeypatch.setattr(Interpreter, "resume", noted)
    service.complete_call(execution_id, 70, "done")
    Worker(service, LocalExecutor(2)).run(until_complete=True)
    assert service.get_result(execution_id) == "done"
    assert set(resumed) == {"durable_monty-slow"}
    assert len(resumed) >= 70
