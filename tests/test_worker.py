import logging
import re
import threading

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder

from durable_monty import (
    FUNCTION_REGISTRY,
    InlineExecutor,
    LocalExecutor,
    OrchestratorService,
    Retry,
    Worker,
    operations,
)
from durable_monty.exceptions import DatabaseNotMigrated
from durable_monty.executor import Executor
from durable_monty.executors.run import run_started
from durable_monty.executors.table import TableExecutor
from durable_monty.models import Call, Execution, WorkerProcess
from durable_monty.reads.executions import goes_on_by_itself
from tests.app.workflows import block_until
from tests.support import SEVEN_CALLS, advance, seven_calls_output

pytestmark = pytest.mark.django_db(transaction=True)


class Jobs(Executor):
    """An executor whose jobs run elsewhere: a dict stands for the other machine."""

    name = "jobs"

    def __init__(self):
        self.jobs, self.submitted = {}, []

    def submit_call(self, call):
        job_id = f"job-{len(self.submitted)}"
        self.submitted.append((call.function, call.args))
        self.jobs[job_id] = {"status": "queued"}
        return job_id

    def check_job(self, job_id):
        return self.jobs[job_id]

    def get_stats(self):
        return {"jobs": len(self.jobs)}


def round_of(worker):
    return worker.round(everything=True)


def rounds_until_written(worker):
    """The call that is running has a row."""
    while not Call.objects.exists():
        round_of(worker)


def test_local_threads_run_many_workflows(service):
    ids = [service.start_execution(SEVEN_CALLS, ["add", "double"], {"x": x}) for x in range(25)]
    assert Worker(service, LocalExecutor()).run(until_complete=True) is True
    assert [service.get_result(execution_id) for execution_id in ids] == [
        seven_calls_output(x) for x in range(25)
    ]
    assert set(Call.objects.values_list("attempt", flat=True)) == {1}
    row = WorkerProcess.objects.get()
    assert (row.executor, row.stopped_at is None) == ("local", False)


def test_two_workers_share_the_work(service):
    ids = [service.start_execution(SEVEN_CALLS, ["add", "double"], {"x": x}) for x in range(25)]
    errors = []

    def work():
        try:
            Worker(OrchestratorService(), LocalExecutor(2)).run(until_complete=True)
        except Exception as exc:
            errors.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert [service.get_result(execution_id) for execution_id in ids] == [
        seven_calls_output(x) for x in range(25)
    ]
    assert set(Call.objects.values_list("attempt", flat=True)) == {1}


def test_once_is_one_round(service):
    execution_id = service.start_execution("await double(await double(3))", ["double"])
    worker = Worker(service, LocalExecutor())
    while service.poll(execution_id)["status"] != "completed":
        # What is in hand when the round ends is put down in the database.
        worker.run(once=True)
        assert not Execution.objects.exclude(claim=None).exists()
    assert service.get_result(execution_id) == 12


def test_worker_may_run_again(service):
    worker = Worker(service, LocalExecutor())
    for x in range(2):
        execution_id = service.start_execution("await double(x)", ["double"], {"x": x})
        assert worker.run(until_complete=True) is True
        assert service.get_result(execution_id) == 2 * x


def test_once_and_until_complete_exclude_each_other(service):
    with pytest.raises(ValueError, match="Choose one"):
        Worker(service, LocalExecutor()).run(once=True, until_complete=True)


@pytest.mark.parametrize("executor", [LocalExecutor, InlineExecutor])
def test_until_complete_leaves_what_waits_for_people_or_is_paused(service, executor):
    waiting = service.start_execution("await approve(await double(2))", ["approve", "double"])
    paused = service.start_execution("await double(3)", ["double"])
    service.pause_execution(paused)
    worker = Worker(service, executor())
    assert worker.run(until_complete=True) is True
    assert service.get_pending_calls(waiting)[0]["args"] == [4]
    service.complete_call(waiting, 1, "yes")
    service.resume_execution(paused)
    assert worker.run(until_complete=True) is True
    assert (service.get_result(waiting), service.get_result(paused)) == ("yes", 6)


@pytest.mark.parametrize(
    "code",
    ["import asyncio\nawait asyncio.sleep(0.3)", "await fail_once()"],
    ids=["a sleep", "a retry"],
)
def test_until_complete_waits_for_time(service, register, code):
    attempts = []

    def fail_once():
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("down")

    register("fail_once", fail_once, retry=Retry(2, initial=0.3, jitter=0))
    execution_id = service.start_execution(code, ["fail_once"])
    Worker(service, LocalExecutor()).run(until_complete=True)
    assert service.poll(execution_id)["status"] == "completed"


def test_until_complete_waits_for_the_end_of_a_grace(service):
    code = """
try:
    await approve(1)
finally:
    await approve("clean up")
"""
    execution_id = service.start_execution(code, ["approve"])
    Worker(service, LocalExecutor()).run(until_complete=True)
    service.cancel_execution(execution_id, grace=0.3)
    Worker(service, LocalExecutor()).run(until_complete=True)
    assert service.poll(execution_id)["status"] == "cancelled"


def test_stop_ends_the_loop_and_lets_calls_end(service, tmp_path):
    execution_id = service.start_execution(
        "await block_until(gate, started)",
        ["block_until"],
        {"gate": str(tmp_path / "gate"), "started": str(tmp_path / "started")},
    )
    worker = Worker(service, LocalExecutor())
    drained = []

    def work():
        drained.append(worker.run())
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    while not (tmp_path / "started").exists():
        assert thread.is_alive()
    worker.stop()
    (tmp_path / "gate").write_text("")
    thread.join(30)
    assert drained == [True]
    assert Call.objects.get(execution=execution_id).status == "completed"


def test_drain_has_a_deadline(service, register, tmp_path, durable_settings):
    durable_settings(DRAIN_TIMEOUT=1)  # a turn takes less, and the call does not end
    worker = Worker(service, LocalExecutor())

    def stop_and_block(gate):
        worker.stop()
        block_until(gate)

    register("stop_and_block", stop_and_block)
    service.start_execution(
        "await stop_and_block(gate)", ["stop_and_block"], {"gate": str(tmp_path / "gate")}
    )
    assert worker.run() is False
    call = Call.objects.get()
    assert (call.status, call.losses, call.claim) == ("pending", 0, None)
    (tmp_path / "gate").write_text("")


def test_jobs_elsewhere_are_asked_for(service, move_clock):
    execution_id = service.start_execution("await add(1, 2) + await add(3, 4)", ["add"])
    executor = Jobs()
    worker = Worker(service, executor)
    assert round_of(worker)
    assert executor.submitted == [("add", "[1,2]")]
    call = Call.objects.get()
    assert (call.status, call.job_id, call.attempt) == ("submitted", "job-0", 1)

    move_clock(1)
    executor.jobs["job-0"] = {"status": "started"}
    round_of(worker)
    assert Call.objects.get().status == "submitted"

    # Another worker, after this one died, asks for the same job: it does not start a second.
    executor.jobs["job-0"] = {"status": "finished", "result": 3}
    move_clock(1)
    other = Worker(service, executor)
    round_of(other)
    round_of(other)
    assert executor.submitted == [("add", "[1,2]"), ("add", "[3,4]")]

    executor.jobs["job-1"] = {"status": "failed", "error": "out of memory"}
    move_clock(1)
    round_of(other)
    round_of(other)
    assert service.poll(execution_id)["error"] == "RuntimeError: out of memory"


def test_unknown_job_is_submitted_again(service, move_clock, log):
    service.start_execution("await add(1, 2)", ["add"])
    executor = Jobs()
    worker = Worker(service, executor)
    round_of(worker)
    executor.jobs.clear()
    move_clock(1)
    round_of(worker)
    round_of(worker)
    assert executor.submitted == [("add", "[1,2]")] * 2
    assert Call.objects.get().attempt == 2
    call = Call.objects.get()
    assert (
        f"call is submitted again: call 0 of execution {call.execution_id}, function add: "
        "its job job-0 is unknown"
    ) in log.messages


def test_refused_submission_fails_the_call(service):
    class Refusing(Jobs):
        def submit_call(self, call):
            raise ConnectionError("no such queue")

    execution_id = service.start_execution("await add(1, 2)", ["add"])
    worker = Worker(service, Refusing())
    round_of(worker)
    round_of(worker)
    assert service.poll(execution_id)["error"] == ("ConnectionError: no such queue")


def test_job_result_that_cannot_be_stored_fails_the_call(service, move_clock):
    execution_id = service.start_execution("await add(1, 2)", ["add"])
    executor = Jobs()
    worker = Worker(service, executor)
    round_of(worker)
    executor.jobs["job-0"] = {"status": "finished", "result": object()}
    move_clock(1)
    round_of(worker)
    round_of(worker)
    assert service.poll(execution_id)["error"].startswith(
        "TypeError: add() returned what cannot be stored: result: "
    )


def test_database_out_of_reach_is_waited_for(service, monkeypatch, log):
    execution_id = service.start_execution("await add(1, 2)", ["add"])
    errors = [OperationalError("the database is starting up") for _ in range(2)]
    claim = operations.claim_lost

    def flaky(*args, **options):
        if errors:
            raise errors.pop()
        return claim(*args, **options)

    monkeypatch.setattr(operations, "claim_lost", flaky)
    Worker(service, LocalExecutor()).run(until_complete=True)
    assert service.get_result(execution_id) == 3
    told = "OperationalError: the database is starting up"
    assert [
        record.getMessage() for record in log.records if record.levelno >= logging.WARNING
    ] == [
        f"A round of the worker failed and will be tried again in 0.1 s: {told}",
        f"A round of the worker failed and will be tried again in 0.2 s: {told}",
    ]


def test_answers_survive_a_database_out_of_reach(service, monkeypatch):
    execution_id = service.start_execution("await wait_in_time('ran')", ["wait_in_time"])
    errors = [OperationalError("gone") for _ in range(2)]
    settle = operations.record_answers

    def flaky(*args, **options):
        if errors:
            raise errors.pop()
        return settle(*args, **options)

    monkeypatch.setattr(operations, "record_answers", flaky)
    Worker(service, LocalExecutor()).run(until_complete=True)
    assert (service.get_result(execution_id), errors) == ("ran", [])
    assert Call.objects.get().attempt == 1


def test_answer_that_comes_too_late_is_logged(service, log, tmp_path):
    execution_id = service.start_execution(
        "await block_until(gate)", ["block_until"], {"gate": str(tmp_path / "gate")}
    )
    executor = LocalExecutor()
    worker = Worker(service, executor)
    rounds_until_written(worker)
    service.complete_call(execution_id, 0, "by hand")
    (tmp_path / "gate").write_text("")
    executor.stop(10)
    round_of(worker)
    assert (
        f"answer refused: Call 0 of execution {execution_id} is already completed; it cannot "
        "become completed. Nothing was changed. (function block_until)"
    ) in log.messages
    assert service.get_result(execution_id) == "by hand"


def test_long_call_keeps_its_lease(service, durable_settings, tmp_path):
    """The lease is renewed while the function runs, so that nobody starts it a second time."""
    durable_settings(LEASE=0.3)
    execution_id = service.start_execution(
        "await block_until(gate)", ["block_until"], {"gate": str(tmp_path / "gate")}
    )
    executor = LocalExecutor()
    worker = Worker(service, executor)
    rounds_until_written(worker)
    renewed = Call.objects.get().due_at
    rounds = 0
    while rounds < 3:
        due_at = Call.objects.get().due_at
        if due_at > renewed:
            renewed, rounds = due_at, rounds + 1
        assert operations.claim_calls(["block_until"], ["default"], 1, using="default") == []
    (tmp_path / "gate").write_text("")
    executor.stop(10)
    round_of(worker)
    assert service.poll(execution_id)["status"] in ("waiting", "completed")
    assert Call.objects.get().attempt == 1


def test_worker_refuses_a_database_that_is_not_migrated(service, monkeypatch):
    MigrationRecorder(connection).record_unapplied("durable_monty", "0001_initial")
    try:
        with pytest.raises(DatabaseNotMigrated) as caught:
            Worker(service, LocalExecutor()).run(once=True)
    finally:
        MigrationRecorder(connection).record_applied("durable_monty", "0001_initial")
    assert str(caught.value) == (
        "The database 'default' is not migrated (durable_monty.0001_initial). "
        "Run: manage.py migrate"
    )


def test_worker_says_that_nobody_has_a_function(service, monkeypatch, log, move_clock):
    for x in range(2):
        advance(service.start_execution("await double(x)", ["double"], {"x": x}))
    monkeypatch.delitem(FUNCTION_REGISTRY._functions, "double")
    worker = Worker(service, LocalExecutor())
    worker.worker_id = operations.register_worker("local", [], using="default")

    def said():
        operations.beat(worker.worker_id, using="default")
        del log.records[:]
        worker._reports.unserved()
        return log.messages

    assert said() == []  # a worker that has it may just be starting
    move_clock(15)
    text = "No running worker has the function 'double'; calls that wait for it: 2"
    assert said() == [text]
    assert said() == []
    other = operations.register_worker("local", ["double"], using="default")
    assert said() == []
    operations.retire_worker(other, using="default")
    assert said() == [text]


def test_executor_of_the_settings_may_be_a_short_name(service, durable_settings):
    durable_settings(EXECUTOR="local")
    assert isinstance(Worker(service).executor, LocalExecutor)
    durable_settings(EXECUTOR="nowhere.Executor")
    with pytest.raises(ImproperlyConfigured, match="There is no executor 'nowhere.Executor'"):
        Worker(service)


class SideExecutor(TableExecutor):
    name = "side"

    def __init__(self, size=1):
        super().__init__()
        self.size, self.ran = size, []

    def submit_call(self, call):
        self.ran.append(call.function)
        run_started(call, using=self.using)
        return str(call.pk)


def test_one_worker_runs_the_functions_of_several_executors_and_a_person_answers(
    service, register
):
    register("beside", lambda x: f"side {x}", executor="side")
    source = """
from asyncio import gather
await gather(double(4), beside(5), approve("it"))
"""
    execution_id = service.start_execution(source, ["double", "beside", "approve"])
    side = SideExecutor()
    worker = Worker(service, [LocalExecutor(), side])
    worker.run(once=True)
    service.complete_call(execution_id, 2, True)
    worker.run(until_complete=True)
    assert service.get_result(execution_id) == [8, "side 5", True]
    assert side.ran == ["beside"]
    assert WorkerProcess.objects.latest("pk").executor == "local,side"


def test_executors_of_the_settings_get_their_options(service, durable_settings):
    path = f"{SideExecutor.__module__}.SideExecutor"
    durable_settings(EXECUTOR="local", EXECUTORS={path: {"size": 5}, "local": {"threads": 3}})
    first, second = Worker(service).executors
    assert (first.threads, first.serves()) == (3, ("default", "local"))
    assert (second.size, second.serves()) == (5, ("side",))


@pytest.mark.parametrize(
    ("executors", "message"),
    [
        ({"nowhere.Pool": {}}, "There is no executor 'nowhere.Pool'"),
        (
            {"local": {"size": 3}},
            "The executor 'local' does not take {'size': 3} (DURABLE_MONTY['EXECUTORS']): ",
        ),
    ],
)
def test_executors_that_cannot_be_made(service, durable_settings, executors, message):
    durable_settings(EXECUTOR="local", EXECUTORS=executors)
    with pytest.raises(ImproperlyConfigured, match=re.escape(message)):
        Worker(service)


def test_executors_of_one_worker_have_different_names(service):
    message = r"A worker needs executors of different names, not \['local', 'local'\]\."
    with pytest.raises(ValueError, match=message):
        Worker(service, [LocalExecutor(), LocalExecutor()])


def test_what_goes_on_by_itself_is_asked_in_one_statement(service, django_assert_num_queries):
    """Between two statements an answer could close a call and make its execution due."""
    service.start_execution("await double(4)", ["double"])
    with django_assert_num_queries(1):
        assert goes_on_by_itself("default")
