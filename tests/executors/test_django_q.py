import os
import signal
import threading
import uuid

import pytest
from django.db import OperationalError
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ, Task
from django_q.signing import SignedPackage

from durable_monty import OrchestratorService, operations
from durable_monty.exceptions import ClusterNotStarted
from durable_monty.executors.django_q import (
    CallBroker,
    DjangoQExecutor,
    SharedBroker,
    executor as executor_module,
    run_task,
)
from durable_monty.models import Call, CallStatus
from tests.processes import completed, manage, result, running_in, runworker, start, start_blocking
from tests.support import claimed_call, seven_calls_output, started_call

pytestmark = pytest.mark.django_db(transaction=True)


# --- what functions do, in a real cluster ---


def test_functions_that_fail_end_or_overrun(tmp_path):
    """Nothing of it is a failure of django-q2's own, which it would save."""
    overran = "() ran longer than 1 seconds, the timeout in Q_CLUSTER"
    failures = {
        "await call_sys_exit()": ("SystemExit", "3"),
        "await fail('OutOfStock', 'none left')": ("OutOfStock", "none left"),
        "await unstorable()": ("TypeError", None),
        "await overrun()": ("TimeoutError", "overrun" + overran),
        "await async_overrun()": ("TimeoutError", "async_overrun" + overran),
        "await overrun_in_transaction()": ("TimeoutError", "overrun_in_transaction" + overran),
        "await overrun_whatever_comes()": (
            "TimeoutError",
            f"overrun_whatever_comes{overran}, and did not react: its process was killed",
        ),
    }
    service = OrchestratorService()
    for code in failures:
        function = code.removeprefix("await ").partition("(")[0]
        service.start_execution(code, [function])
    last = start(1)
    queue = {"timeout": 1, "retry": 60}
    with manage(tmp_path, "runworker", "--until-complete", "--workers=3", queue=queue) as process:
        process.ends(0)
    assert result(last) == seven_calls_output(1)
    for code, (kind, message) in failures.items():
        function = code.removeprefix("await ").partition("(")[0]
        call = Call.objects.get(function=function)
        assert (call.status, call.attempt) == (CallStatus.FAILED, 1)
        assert call.error_type == kind
        assert call.error_message == message or message is None, call.error_message
    overrun = Call.objects.get(function="overrun")
    assert "time.sleep(60)" in overrun.error_traceback
    assert not Task.objects.exists()


def test_a_time_out_does_not_fire_while_the_answer_is_recorded(monkeypatch):
    call, claimed = claimed_call()
    seen = []

    def settle(*args, **kwargs):
        seen.append(signal.getitimer(signal.ITIMER_REAL)[0])
        return operations.settle_attempts(*args, **kwargs)

    monkeypatch.setattr("durable_monty.executors.run.settle_attempts", settle)
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.alarm(50)
    try:
        run_task([claimed.pk], claimed.token.hex, "default")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert seen == [0.0]
    call.refresh_from_db()
    assert (call.status, call.result) == (CallStatus.COMPLETED, "3")


def test_a_call_that_waited_beyond_its_lease_is_not_started():
    call, first = claimed_call()
    Call.objects.update(due_at=call.created_at)
    (second,) = operations.claim_calls(["add"], ["default"], 1, using="default")
    run_task([first.pk], first.token.hex, "default")
    call.refresh_from_db()
    assert (call.status, call.attempt) == (CallStatus.SUBMITTED, 0)
    run_task([second.pk], second.token.hex, "default")
    call.refresh_from_db()
    assert (call.status, call.attempt) == (CallStatus.COMPLETED, 1)


def test_a_database_out_of_reach_leaves_the_call_to_its_lease(monkeypatch, log):
    call, claimed = claimed_call()

    def start_attempts(*args, **kwargs):
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr("durable_monty.executors.batch.start_attempts", start_attempts)
    assert run_task([claimed.pk], claimed.token.hex, "default") is None
    assert [record.message for record in log.records] == [
        f"calls left to their leases: call in row {call.pk}: the server closed the connection"
    ]
    call.refresh_from_db()
    assert (call.status, call.due_at is not None) == (CallStatus.SUBMITTED, True)


SHARED = {"broker_class": "durable_monty.executors.django_q.SharedBroker"}


@pytest.mark.parametrize("command", ["qcluster", "runworker"])
def test_one_cluster_for_calls_and_ordinary_tasks(tmp_path, command):
    """With the shared broker a plain `qcluster` runs calls, and `runworker` ordinary tasks."""
    large = "x" * 100_000
    for number, args in enumerate([("kept", 1), ("large", large)]):
        task = {
            "id": uuid.uuid4().hex,
            "name": f"task-{number}",
            "func": "tests.app.workflows.echo",
            "args": args,
            "kwargs": {},
            "started": timezone.now(),
            "save": True,
        }
        SharedBroker().enqueue(SignedPackage.dumps(task))
    execution_id = start(3)
    others = ["--no-cluster"] if command == "qcluster" else ["--workers=2"]
    with (
        runworker(tmp_path, *others, queue=SHARED) as process,
        manage(tmp_path, "qcluster" if command == "qcluster" else "check", queue=SHARED),
    ):
        process.until(lambda: completed(execution_id), "the calls are run")
        process.until(lambda: Task.objects.count() == 2, "the tasks are run")
        process.until(lambda: not OrmQ.objects.exists(), "the tasks are acknowledged")
    results = dict(Task.objects.values_list("name", "result"))
    assert results == {"task-0": ["kept", 1], "task-1": ["large", large]}
    assert set(Call.objects.values_list("attempt", flat=True)) == {1}


# --- the executor ---


def test_it_starts_in_the_main_thread_only():
    caught = []

    def start_executor():
        try:
            DjangoQExecutor(1).start("default", None)
        except ClusterNotStarted as exc:
            caught.append(str(exc))

    thread = threading.Thread(target=start_executor)
    thread.start()
    thread.join()
    assert caught == [
        "The django-q2 cluster did not start: it must be started in the main thread of its "
        "process."
    ]


def test_what_it_says_of_itself():
    executor = DjangoQExecutor(3)
    assert executor.get_stats() == {
        "cluster": None,
        "alive": False,
        "workers": 3,
        "running": 0,
        "restarts": 0,
    }
    assert (executor.capacity(), executor.serves()) == (0, ("default", "django_q"))
    assert DjangoQExecutor().workers == Conf.WORKERS
    assert executor.stop(1) is True


def test_submitting_by_hand_leaves_the_call_to_the_cluster():
    executor, call = DjangoQExecutor(1), started_call()
    operations.claim_calls(["add"], ["default"], 1, using="default")
    call.refresh_from_db()
    job_id = executor.submit_call(call)
    assert executor.check_job(job_id) == {"status": "queued"}
    ((_ack_id, package),) = CallBroker().dequeue()
    run_task(*SignedPackage.loads(package)["args"])
    assert executor.check_job(job_id) == {"status": "finished", "result": 3}
    with pytest.raises(LookupError):
        executor.check_job(str(call.pk + 1))


class DeadCluster:
    """A cluster that dies as soon as it is started."""

    pid = 0
    started = 0
    board = None

    def __init__(self, *args):
        DeadCluster.started += 1

    def failure(self):
        return "its sentinel ended with exit code -9"

    def kill(self):
        pass

    def drain(self, timeout):
        return True


def test_it_does_not_restart_without_end(monkeypatch, log):
    monkeypatch.setattr(executor_module, "Cluster", DeadCluster)
    DeadCluster.started = 0
    executor = DjangoQExecutor(1)
    executor.start("default", None)
    for _ in range(20):
        executor.check()
    executor.stop(1)
    assert DeadCluster.started == 1 + 6
    assert executor.get_stats()["restarts"] == 6
    assert [record.message for record in log.records] == [
        "cluster replaced: process 0, since its sentinel ended with exit code -9; "
        f"replaced {number} times"
        for number in range(1, 7)
    ]


def test_functions_get_the_usual_signals(tmp_path):
    """A handler for SIGTERM keeps the worker alive; what a function starts must not inherit it."""
    with runworker(tmp_path, "--workers=1", settings={"LEASE": 5}) as process:
        execution_id = start_blocking(tmp_path)
        worker = running_in(tmp_path)
        os.kill(worker, signal.SIGTERM)
        (tmp_path / "go").touch()
        process.until(lambda: completed(execution_id), "the call ends in spite of SIGTERM")
        children = OrchestratorService().start_execution(
            "await terminate_child()", ["terminate_child"]
        )
        process.until(lambda: completed(children), "its children end by SIGTERM")
    assert result(children) == [-signal.SIGTERM, -signal.SIGTERM]
