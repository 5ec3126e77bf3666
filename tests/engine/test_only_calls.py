"""Calls that an execution makes one at a time, while the worker has no other: they stay in one
thread."""

import threading

import pytest
from django.db import DataError, OperationalError, connection

from durable_monty import LocalExecutor, Worker
from durable_monty.engine import turns as module
from durable_monty.models import Call, Execution
from tests.processes import completed, until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor != "postgresql", reason="elsewhere a commit is several statements"
    ),
]
CHAIN = "x = 0\nfor i in range(12): x = await here(x)\nx"


@pytest.fixture
def here(register):
    """A function that counts, and notes the thread it runs in."""
    threads = []

    def here(x):
        threads.append(threading.current_thread())
        return x + 1

    register("here", here)
    return threads


@pytest.fixture
def patient(monkeypatch):
    """However busy the machine is, no turn is taken for a slow one, and no call gets a row."""
    for name in ("run.SLOW_AFTER", "turns._INLINE", "turns._INLINE_ALL"):
        monkeypatch.setattr(f"durable_monty.engine.{name}", 30)


@pytest.fixture
def committed(monkeypatch):
    """The threads of the executor that committed."""
    threads, commit = [], module.commit_at_once

    def noted(result, **options):
        threads.append(threading.current_thread())
        return commit(result, **options)

    monkeypatch.setattr(module, "commit_at_once", noted)
    return threads


@pytest.mark.usefixtures("patient")
def test_only_call_runs_in_the_thread_that_ran_its_turn(service, here, committed):
    execution_id = service.start_execution(CHAIN, ["here"])
    Worker(service, LocalExecutor(4)).run(until_complete=True)
    assert service.get_result(execution_id) == 12
    assert set(here[-7:]) == set(committed) == {here[-1]}
    assert len(committed) == 9  # not the first turns, nor the last, which nothing follows
    assert Execution.objects.get(pk=execution_id).call_count == 12
    assert set(Call.objects.values_list("status", "attempt")) == {("completed", 1)}


@pytest.mark.usefixtures("patient")
def test_executions_that_share_a_commit_do_not_commit_in_other_threads(service, here, committed):
    for _ in range(2):
        service.start_execution(CHAIN, ["here"])
    worker = Worker(service, LocalExecutor(4))
    while len(worker._engine._runs) < 2:
        worker.round()
    while len(worker._engine._runs) == 2:
        assert not committed
        worker.round()
    worker.run(until_complete=True)
    assert Execution.objects.filter(status="completed").count() == 2


def test_neighbour_of_a_chain_begins_at_once(service, register, here):
    """Also while a function of the chain takes long."""
    may_end, reached = threading.Event(), threading.Event()

    def stand():
        reached.set()
        assert may_end.wait(30)

    register("stand", stand)
    chain = service.start_execution(f"{CHAIN}\nawait stand()", ["here", "stand"])
    worker = Worker(service, LocalExecutor(2))
    thread = threading.Thread(target=lambda: (worker.run(), connection.close()))
    thread.start()
    try:
        assert reached.wait(30)
        neighbour = service.start_execution("await here(1)", ["here"])
        until(lambda: completed(neighbour), "the neighbour ends")
        assert not completed(chain)
    finally:
        may_end.set()
        until(lambda: completed(chain), "the chain ends")
        worker.stop()
        thread.join()
    assert Call.objects.get(function="stand").attempt == 1


@pytest.mark.parametrize("happened", [True, False])
@pytest.mark.parametrize("error", [OperationalError, DataError])
def test_commit_that_fails_in_the_thread_of_a_call(  # noqa: PLR0917
    service, here, monkeypatch, log, happened, error
):
    """The worker commits instead, in doubt whether it happened."""
    commit, failures = module.commit_at_once, [error("gone")]

    def flaky(result, **options):
        if not failures:
            return commit(result, **options)
        if happened:
            commit(result, **options)
        raise failures.pop()

    monkeypatch.setattr(module, "commit_at_once", flaky)
    execution_id = service.start_execution(CHAIN, ["here"])
    Worker(service, LocalExecutor(2)).run(until_complete=True)
    assert not failures
    assert service.get_result(execution_id) == 12
    assert f"commit is tried again: execution {execution_id} (unnamed), turn" in log.text
    assert Execution.objects.get(pk=execution_id).call_count == Call.objects.count() == 12


def test_function_that_changed_its_session(service, register, here, log):
    """The commit of its thread is refused, and the worker's own is not."""

    def spoil(x):
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
        return x

    register("spoil", spoil)
    source = CHAIN.replace("here(x)", "here(await spoil(x))")
    execution_id = service.start_execution(source, ["here", "spoil"])
    Worker(service, LocalExecutor(1)).run(until_complete=True)
    assert service.get_result(execution_id) == 12
    assert set(Call.objects.values_list("attempt", flat=True)) == {1}


@pytest.mark.parametrize("wanted", ["pause", "cancel", "terminate"])
def test_chain_of_which_something_is_wanted(service, register, here, wanted):
    reached, may_end = threading.Event(), threading.Event()

    def stop_here(x):
        reached.set()
        assert may_end.wait(30)
        return x

    register("stop_here", stop_here)
    source = "x = 0\nfor i in range(8): x = await here(x)\nx = await stop_here(x)\nawait here(x)"
    execution_id = service.start_execution(source, ["here", "stop_here"])
    worker = Worker(service, LocalExecutor(2))
    thread = threading.Thread(target=lambda: (worker.run(), connection.close()))
    thread.start()
    assert reached.wait(30)
    getattr(service, f"{wanted}_execution")(execution_id)
    may_end.set()
    status = "paused" if wanted == "pause" else "cancelled"
    until(lambda: service.poll(execution_id)["status"] == status, "it is honoured")
    worker.stop()
    thread.join()
    if wanted == "pause":  # calls that were made go on
        service.resume_execution(execution_id)
        Worker(service, LocalExecutor(2)).run(until_complete=True)
        assert service.get_result(execution_id) == 9
    else:
        assert len(here) == 8
