"""Celery's workers of processes, beyond the conformance suite."""

import signal

import pytest

from durable_monty import OrchestratorService
from durable_monty.exceptions import ExecutorUnavailable
from durable_monty.models import Attempt, Call
from tests.engines.conformance import LEASE, in_thread
from tests.engines.engine_celery import CeleryEngine
from tests.processes import completed, result, until
from tests.support import claimed_call

pytest.importorskip("celery")

from durable_monty.executors.celery import CeleryExecutor, connections

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    engine = CeleryEngine("redis", "result", pool="prefork", concurrency=1)
    try:
        engine.start(tmp_path_factory.mktemp("celery"))
        yield engine
    finally:
        engine.stop()


@pytest.fixture
def engine(running, durable_settings):
    durable_settings(LEASE=LEASE)
    yield running
    running.reset()


def start(code, *functions, **inputs):
    return OrchestratorService().start_execution(code, functions, inputs)


def test_a_function_that_kills_its_process_is_given_up(engine, tmp_path):
    code = "try:\n    await die()\nexcept Exception as exc:\n    caught = str(exc)\ncaught"
    with engine.worker(tmp_path):
        execution_id = start(code, "die")
        until(lambda: completed(execution_id), "the workflow is completed")
    assert "die() was given up: its worker vanished 3 times in a row" in result(execution_id)
    assert Attempt.objects.filter(outcome="lost").count() == 3


def test_a_withdrawn_call_is_skipped(engine, tmp_path):
    """It waits in the hands of the Celery worker, which runs another one."""
    go, started, ran = (tmp_path / name for name in ("go", "started", "ran"))
    log = engine.process.log
    before = len(log.read_text())  # of other tests
    with engine.worker(tmp_path):
        first = start("await wait_for(path, at)", "wait_for", path=str(go), at=str(started))
        until(started.exists, "the first function runs")
        second = start("await jot(path, 'ran')", "jot", path=str(ran))
        until(lambda: "functions.jot[" in log.read_text()[before:], "the second one is received")
        OrchestratorService().cancel_execution(second, "not wanted", grace=0)
        until(lambda: "Tasks flagged as revoked" in log.read_text()[before:], "it is revoked")
        go.touch()
        until(lambda: completed(first), "the first workflow is completed")
        third = start("await jot(path, 'third')", "jot", path=str(ran))
        until(lambda: completed(third), "the third workflow is completed")
    assert ran.read_text().split() == ["third"]
    assert Call.objects.get(execution=second).error_type == "durable_monty.Cancelled"


def test_workers_without_the_task_that_runs_calls(engine, durable_settings):
    durable_settings(LEASE=1)
    code = "try:\n    await total(1)\nexcept Exception as exc:\n    caught = str(exc)\ncaught"
    options = {**engine.options(), "mode": "django"}
    with in_thread(CeleryExecutor(**options)):
        execution_id = start(code, "total")
        until(lambda: completed(execution_id), "the workflow is completed")
    assert result(execution_id) == (
        "The engine lost 3 jobs of this call before they began. Do the workers of the queue "
        "'conformance' have the task 'durable_monty.run_call'?"
    )


def test_a_broker_that_hangs_at_submit(engine, monkeypatch):
    monkeypatch.setattr(connections, "ANSWER_TIMEOUT", 0.3)
    executor = CeleryExecutor(**{**engine.options(), "mode": "django"})
    call, _claimed = claimed_call()
    call.refresh_from_db()
    executor.submit_call(call)
    engine.broker.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(ExecutorUnavailable):
            executor.submit_call(call)
    finally:
        engine.broker.process.send_signal(signal.SIGCONT)
    executor.submit_call(call)
