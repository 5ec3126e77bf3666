"""What workers say about themselves: stuck threads, and what a drain waits for."""

import json
import signal
from datetime import timedelta

import pytest

from durable_monty import LocalExecutor, OrchestratorService, Worker, worker_reports
from durable_monty.executors.group import ExecutorGroup
from durable_monty.models import Call, WorkerProcess
from durable_monty.operations.running import RunningCall
from durable_monty.worker_reports import WorkerReports
from tests.doctor.reports import doctor
from tests.processes import running_in, runworker, start_blocking, until
from tests.test_worker import round_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def block(register, tmp_path, monkeypatch):
    """Begins when the file `began` is there, and ends with the file `gate`."""

    def function():
        (tmp_path / "began").touch()
        until((tmp_path / "gate").exists, "it may end")

    register("block", function, start_to_close=30)
    monkeypatch.setattr("durable_monty.worker.HEARTBEAT", timedelta())
    monkeypatch.setattr(worker_reports, "HEARTBEAT", timedelta())
    return tmp_path


@pytest.mark.parametrize("threads", [1, 2])
def test_calls_that_hold_threads_after_their_time_out(service, block, log, move_clock, threads):
    execution_id = service.start_execution("await block()", ["block"])
    executor = LocalExecutor(threads)
    worker = Worker(service, executor)
    worker.start()

    def rounds_until(condition, what):
        until(lambda: (round_of(worker), condition())[1], what)

    rounds_until((block / "began").exists, "the function runs")
    round_of(worker)
    assert doctor().output == "Nothing wrong.\n"

    move_clock(31)
    rounds_until(lambda: Call.objects.get().status == "failed", "it timed out")
    round_of(worker)

    row = WorkerProcess.objects.get()
    place = "every thread" if threads == 1 else "1 of 2 threads"
    assert doctor().lines[0] == (
        f"{'error' if threads == 1 else 'warning'} [stuck-worker]: 1 call occupies {place} of "
        f"worker {row}, although nobody waits for it any more: block (call 0 of execution "
        f"{execution_id}). Restart it, and let these functions end by themselves: with a time-out "
        "of what they call, or check_cancelled()."
    )
    assert json.loads(row.stuck_json)["threads"] == threads
    said = (
        f"call still runs, and nobody waits for it: call 0 of execution {execution_id}, function "
        f"block: it occupies one of {threads} threads until it ends"
    )
    assert log.messages.count(said) == 1

    (block / "gate").touch()
    until(lambda: not executor.running_calls(), "the function ended")
    round_of(worker)
    assert WorkerProcess.objects.get().stuck_json == "{}"
    assert worker.close()


@pytest.mark.parametrize("executor", ["local", "django_q"])
def test_a_drain_says_what_it_waits_for(tmp_path, executor):
    with runworker(tmp_path, f"--executor={executor}", "--workers=1") as process:
        execution_id = start_blocking(tmp_path)
        running_in(tmp_path)
        process.until(Call.objects.exists, "it has a row")
        process.signal(signal.SIGTERM)
        process.until_logged(
            "worker drains, for at most 30 s; it waits for block_until (call 0 of execution "
            f"{execution_id}, for "
        )
        (tmp_path / "go").touch()
        process.ends(0)
    assert "cuts off" not in process.log.read_text()


@pytest.mark.parametrize("executor", ["local", "django_q"])
def test_a_drain_says_what_it_cuts_off(tmp_path, executor):
    short = {"DRAIN_TIMEOUT": 0.5}
    with runworker(tmp_path, f"--executor={executor}", "--workers=1", settings=short) as process:
        execution_id = start_blocking(tmp_path)
        running_in(tmp_path)
        process.until(Call.objects.exists, "it has a row")
        process.signal(signal.SIGTERM)
        process.ends(3)
    assert (
        "WARNING worker cuts off what will be run again: block_until (call 0 of execution "
        f"{execution_id}, for "
    ) in process.log.read_text()


def test_a_long_drain_says_it_again_and_again(monkeypatch, log):
    monkeypatch.setattr(worker_reports, "_DRAIN_INTERVAL", 0.01)
    executor = LocalExecutor(1)
    calls = [
        Call(execution_id="0198aaaa-0000-7000-8000-000000000000", call_id=n, function="ship")
        for n in range(7)
    ]
    monkeypatch.setattr(executor, "running_calls", lambda: [RunningCall(call) for call in calls])
    reports = WorkerReports(ExecutorGroup(executor), "default")
    reports.drain_begins(30)
    until(
        lambda: log.text.count("worker still drains; it waits for ship (call 0 of ") > 1, "twice"
    )
    reports.drain_ends()
    assert "function" not in log.messages[0]
    assert log.messages[0].endswith(", for 0 s), 2 more")


def test_a_withdrawn_call_in_a_cluster(tmp_path):
    """Its process runs on, until the function ends: the seats tell its token."""
    with runworker(tmp_path, "--workers=1") as process:
        execution_id = start_blocking(tmp_path)
        running_in(tmp_path)
        OrchestratorService().terminate_execution(execution_id)
        said = (
            f"call still runs, and nobody waits for it: call 0 of execution {execution_id}, "
            "function block_until: it occupies one of 1 threads until it ends"
        )
        process.until_logged(said)
        assert "error [stuck-worker]: 1 call occupies every thread of worker " in doctor().output
        process.until(is_beating(), "another heartbeat")
        (tmp_path / "go").touch()
        process.until(
            lambda: WorkerProcess.objects.filter(stuck_json="{}").exists(), "it is free again"
        )
    assert process.log.read_text().count(said) == 1


def is_beating():
    before = WorkerProcess.objects.get().heartbeat_at
    return WorkerProcess.objects.filter(heartbeat_at__gt=before).exists
