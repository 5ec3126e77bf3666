"""`manage.py runworker` as people and service managers meet it."""

import signal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.db import connection

from durable_monty import FUNCTION_REGISTRY, OrchestratorService
from durable_monty.models import Attempt, Call, CallStatus, Execution, WorkerProcess
from tests.processes import (
    attempts,
    completed,
    manage,
    members,
    result,
    running_in,
    runworker,
    start,
    start_blocking,
    until,
)
from tests.support import seven_calls_output

pytestmark = pytest.mark.django_db(transaction=True)


def test_until_complete(tmp_path):
    execution_id = start(5)
    with manage(tmp_path, "runworker", "--until-complete", "--workers=2") as process:
        process.ends(0)
    assert result(execution_id) == seven_calls_output(5)
    first_line = process.log.read_text().splitlines()[0]
    assert f"pid {process.pid}: executor django_q, " in first_line
    worker = WorkerProcess.objects.get()
    assert (worker.pid, worker.executor) == (process.pid, "django_q")
    assert worker.stopped_at is not None
    assert set(Call.objects.values_list("worker", flat=True)) == {worker.pk}


def test_two_workers_share_the_executions(tmp_path):
    # SQLite's one writer makes it three times slower.
    count = 80 if connection.vendor == "sqlite" else 200
    service = OrchestratorService()
    # It keeps them from ending before there is something to share.
    waiting = service.start_execution("import asyncio\nawait asyncio.sleep(3600)", [])
    with (
        runworker(tmp_path, "--until-complete", "--workers=2") as one,
        runworker(tmp_path, "--until-complete", "--workers=2") as two,
    ):
        ids = [start(x) for x in range(count)]
        until(lambda: all(completed(each) for each in ids), "all are completed")
        service.terminate_execution(waiting)
        one.ends(0, patience=120)
        two.ends(0)
    assert [result(execution_id) for execution_id in ids] == [
        seven_calls_output(x) for x in range(count)
    ]
    # Claimed once, started once, and no answer was refused: none was settled twice.
    calls = Call.objects.filter(execution_id__in=ids)
    assert set(calls.values_list("status", "attempt")) == {(CallStatus.COMPLETED, 1)}
    assert "answer refused" not in one.log.read_text() + two.log.read_text()
    assert WorkerProcess.objects.exclude(calls=None).distinct().count() == 2


@pytest.mark.parametrize("group", [False, True], ids=["alone", "whole group"])
def test_the_first_signal_drains(tmp_path, group):
    with runworker(tmp_path, "--workers=1") as process:
        execution_id = start_blocking(tmp_path)
        running_in(tmp_path)
        waiting = start_blocking(tmp_path, "later")
        calls = Call.objects.filter(execution=waiting)
        process.until(calls.exists, "the other call is made")
        process.signal(signal.SIGTERM, group=group)
        process.until_logged("stopping cluster processes")
        (tmp_path / "go").touch()
        process.ends(0)
    call = Call.objects.get(execution=execution_id)
    assert (call.status, call.attempt) == (CallStatus.COMPLETED, 1)
    # What had only been claimed was given back.
    other = Call.objects.get(execution=waiting)
    assert (other.status, other.attempt, other.claim) == (CallStatus.PENDING, 0, None)


def test_the_second_signal_stops_at_once(tmp_path):
    with runworker(tmp_path, "--workers=1") as process:
        execution_id = start_blocking(tmp_path)
        running_in(tmp_path)
        process.signal(signal.SIGINT)
        process.until_logged("stopping cluster processes")
        process.signal(signal.SIGTERM)
        process.ends(128 + signal.SIGTERM)
    assert Call.objects.get(execution=execution_id).is_open


def test_what_outlasts_the_deadline_is_cut_off_and_run_again(tmp_path):
    short = {"DRAIN_TIMEOUT": 0.5, "LEASE": 2}
    with runworker(tmp_path, "--workers=1", settings=short) as process:
        execution_id = start_blocking(tmp_path)
        running_in(tmp_path)
        process.signal(signal.SIGTERM)
        process.ends(3)
    assert "Running calls were cut off; they will be run again." in process.tail()
    (tmp_path / "go").touch()
    with manage(tmp_path, "runworker", "--until-complete", settings=short) as successor:
        successor.ends(0)
    assert (result(execution_id), attempts(execution_id)) == ("done", [2])


@pytest.mark.parametrize("executor", ["local", "django_q"])
def test_orderly_restarts_are_no_losses(tmp_path, executor):
    """However often a worker is stopped while a call runs, the call is due again at once."""
    arguments, short = ("--workers=1", f"--executor={executor}"), {"DRAIN_TIMEOUT": 0.5}
    execution_id = start_blocking(tmp_path)
    for number in range(1, 4):
        with runworker(tmp_path, *arguments, settings=short) as process:
            running_in(tmp_path)
            process.signal(signal.SIGTERM)
            process.ends(3)
        (tmp_path / "go.pid").unlink()
        call = Call.objects.get(execution=execution_id)
        assert (call.status, call.attempt, call.losses) == ("pending", number, 0)
        assert (call.claim, call.started_at, call.worker_id) == (None, None, None)
    cut_off = [(number, "lost", "Its worker was stopped while it ran.") for number in (1, 2, 3)]
    attempt_rows = Attempt.objects.order_by("number")
    assert list(attempt_rows.values_list("number", "outcome", "error_message")) == cut_off
    (tmp_path / "go").touch()
    with manage(tmp_path, "runworker", "--until-complete", *arguments) as successor:
        successor.ends(0)
    assert (result(execution_id), attempts(execution_id)) == ("done", [4])


def test_a_database_that_is_not_migrated(tmp_path):
    with manage(
        tmp_path, "runworker", DATABASE_URL=f"sqlite:///{tmp_path}/empty.sqlite3"
    ) as process:
        process.ends(1)
    last = process.tail().splitlines()[-1]
    assert last.startswith("CommandError: The database 'default' is not migrated (")
    assert "durable_monty.0001_initial" in last
    assert last.endswith("Run: manage.py migrate")


def test_a_database_out_of_reach(tmp_path):
    with manage(
        tmp_path, "runworker", DATABASE_URL=f"sqlite:///{tmp_path}/no/such/directory"
    ) as process:
        process.ends(1)
    assert (
        "CommandError: The database 'default' cannot be used: unable to open database file"
        in process.tail()
    )


def test_without_a_cluster_it_only_advances(tmp_path):
    execution_id = start(1)
    with runworker(tmp_path, "--no-cluster") as process:
        calls = Call.objects.filter(execution=execution_id)
        process.until(lambda: calls.count() == 3, "its first turn")
        assert len(members(process.pid)) >= 1
        assert "0 functions" in process.log.read_text()
        with manage(tmp_path, "runworker", "--until-complete", "--executor=local") as other:
            other.ends(0)
        process.signal(signal.SIGTERM)
        process.ends(0)
    assert result(execution_id) == seven_calls_output(1)


def test_one_round():
    before = signal.getsignal(signal.SIGINT)
    execution_id = start(1)
    call_command("runworker", "--once", "--executor=local", stdout=StringIO())
    execution = Execution.objects.get(pk=execution_id)
    assert execution.turn >= 1
    assert execution.claim is None
    call_command("durable_worker", "--until-complete", "--executor=local", stdout=StringIO())
    assert result(execution_id) == seven_calls_output(1)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers=0"], "argument --workers: '0' is not a whole number of at least 1."),
        (["--workers=two"], "argument --workers: 'two' is not a whole number of at least 1."),
        (
            ["--poll-interval=0"],
            "argument --poll-interval: '0' is not a positive number of seconds, at most a day.",
        ),
        (
            ["--poll-interval=nan"],
            "argument --poll-interval: 'nan' is not a positive number of seconds, at most a day.",
        ),
        (
            ["--poll-interval=1e300"],
            "argument --poll-interval: '1e300' is not a positive number of seconds, at most a "
            "day.",
        ),
        (["--database=x"], "argument --database: DATABASES has no 'x'; it has default."),
        (
            ["--executor=dramatiq"],
            "argument --executor: There is no executor 'dramatiq': use django_q, local, rq, "
            "celery, django_tasks, http, aws_lambda, modal, or the dotted path of a class "
            "(dramatiq doesn't look like a module path).",
        ),
        (["--executor=os.path.join"], "'os.path.join' is not a subclass of Executor."),
        (["--once", "--until-complete"], "--until-complete: not allowed with argument --once"),
        (["--executor=local", "--no-cluster"], "not allowed with argument --executor"),
        (["--no-cluster", "--workers=3"], "--workers has no meaning with --no-cluster."),
        (
            ["--executor=durable_monty.InlineExecutor", "--workers=3"],
            "--workers has no meaning with the executor 'inline', which starts no workers.",
        ),
        (
            ["--executor=tests.executors.test_remote.FakeExecutor", "--workers=3"],
            "--workers has no meaning with the executor 'fake', which starts no workers.",
        ),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(CommandError) as raised:
        call_command("runworker", *options, stdout=StringIO())
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ("runworker", "--no-cluster", "--workers=3"),
        ("runworker", "--executor=durable_monty.InlineExecutor", "--workers=3"),
        ("runworker", "--workers=0"),
        ("durable_worker", "--executor=dramatiq"),
        ("durable_doctor", "no-id"),
        ("durable_doctor", "01890000-0000-7000-8000-000000000000"),
        ("durable_doctor", "--minutes=99999999999999"),
    ],
    ids=" ".join,
)
def test_wrong_options_end_with_2(tmp_path, arguments):
    with manage(tmp_path, *arguments) as process:
        process.ends(2)
    assert "Traceback" not in process.tail()


def test_worker_without_functions_says_so(service, durable_settings, monkeypatch, log):
    monkeypatch.setattr(FUNCTION_REGISTRY, "_functions", {})
    call_command("runworker", "--once", "--executor=local", stdout=StringIO())
    said = (
        "This worker has no functions to run. Functions are found in the workflows.py of an "
        "installed app, and in DURABLE_MONTY['FUNCTION_MODULES']."
    )
    assert log.messages.count(said) == 1
    call_command("runworker", "--once", "--no-cluster", stdout=StringIO())
    assert log.messages.count(said) == 1


def test_the_alias_is_the_same_command():
    assert get_commands()["runworker"] == get_commands()["durable_worker"] == "durable_monty"
    names = ("runworker", "durable_worker")
    runworker_help, alias_help = (
        load_command_class("durable_monty", name).create_parser("manage.py", "x").format_help()
        for name in names
    )
    assert runworker_help == alias_help
    assert (
        "3    the worker has drained, but running calls were cut off or not recorded"
        in runworker_help
    )
