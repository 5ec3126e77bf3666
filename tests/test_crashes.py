"""kill -9 of every process of a worker: everything still completes, and nothing is left over."""

import os
import signal
from contextlib import suppress

import pytest
from django.db import OperationalError, connection

from durable_monty import OrchestratorService
from durable_monty.models import Call, CallStatus, Execution, ExecutionStatus
from tests.processes import (
    attempts,
    completed,
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

LEASE = {"LEASE": 2}


def test_idle_children_are_killed(tmp_path):
    """Stock django-q2 freezes for ever when an idle worker is killed."""
    with runworker(tmp_path, "--workers=2", settings=LEASE) as process:
        victims = ["worker", "monitor", "pusher", "worker", "sentinel"]
        for x, role in enumerate(victims):
            if role == "sentinel":
                victim = process.sentinel()
            else:
                victim = process.until(lambda role=role: process.pids(role), f"a {role}")[0]
            os.kill(victim, signal.SIGKILL)
            execution_id = start(x)
            process.until(lambda e=execution_id: completed(e), f"work after the death of a {role}")
            assert result(execution_id) == seven_calls_output(x)
        process.signal(signal.SIGTERM)
        process.ends(0)


def test_a_running_call_survives_the_death_of_others(tmp_path):
    with runworker(tmp_path, "--workers=2", settings=LEASE) as process:
        execution_id = start_blocking(tmp_path)
        worker = running_in(tmp_path)
        for role in ["pusher", "monitor", "worker"]:
            (victim,) = {*process.pids(role)} - {worker}
            os.kill(victim, signal.SIGKILL)
        other = start(7)
        process.until(lambda: completed(other), "other work is done")
        (tmp_path / "go").touch()
        process.until(lambda: completed(execution_id), "the running call ends")
    assert (result(execution_id), attempts(execution_id)) == ("done", [1])


@pytest.mark.parametrize("role", ["worker", "sentinel", "main"])
def test_a_killed_call_is_run_again(tmp_path, role):
    with runworker(tmp_path, "--workers=2", settings=LEASE) as process:
        execution_id = start_blocking(tmp_path)
        worker = running_in(tmp_path)
        victim = {"worker": worker, "main": process.pid}.get(role) or process.sentinel()
        os.kill(victim, signal.SIGKILL)
        until(lambda: worker not in members(process.pid), "the worker ends with it")
        (tmp_path / "go").touch()
        if role == "main":
            process.popen.wait()
            until(lambda: not members(process.pid), "no orphan works on")
            with runworker(tmp_path, settings=LEASE) as successor:
                successor.until(lambda: completed(execution_id), "another worker runs it")
        else:
            process.until(lambda: completed(execution_id), "the call was run again")
    assert (result(execution_id), attempts(execution_id)) == ("done", [2])


def test_frozen_processes_are_replaced(tmp_path):
    with runworker(tmp_path, "--workers=1", settings=LEASE) as process:
        frozen = [*process.pids("pusher"), *process.pids("worker")]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        execution_id = start(1)
        process.until(lambda: completed(execution_id), "work after pusher and worker froze")
        assert not members(process.pid) & {*frozen}

        os.kill(process.sentinel(), signal.SIGSTOP)
        process.until_logged("cluster replaced")
        execution_id = start(2)
        process.until(lambda: completed(execution_id), "work after the sentinel froze")
    assert result(execution_id) == seven_calls_output(2)


def test_a_function_that_ends_its_process(tmp_path):
    with runworker(tmp_path, "--workers=1", settings=LEASE) as process:
        execution_id = OrchestratorService().start_execution(
            "await exit_process(path)", ["exit_process"], {"path": str(tmp_path / "died")}
        )
        process.until(lambda: completed(execution_id), "its second attempt")
    assert (result(execution_id), attempts(execution_id)) == ("survived", [2])


def test_kills_under_load(tmp_path):
    """One process after another, while calls run."""
    ids = [start(x) for x in range(10)]
    with runworker(tmp_path, "--workers=2", settings=LEASE) as process:
        for role in ["worker", "pusher", "worker", "monitor", "worker"]:
            done = Execution.objects.filter(status=ExecutionStatus.COMPLETED).count()
            os.kill(process.until(lambda r=role: process.pids(r), f"a {role}")[-1], signal.SIGKILL)
            process.until(
                lambda n=done: (
                    all(map(completed, ids))
                    or Execution.objects.filter(status=ExecutionStatus.COMPLETED).count() > n
                ),
                f"progress after the death of a {role}",
            )
        process.until(lambda: all(map(completed, ids)), "all complete")
    assert [result(e) for e in ids] == [seven_calls_output(x) for x in range(10)]
    assert Call.objects.filter(status=CallStatus.COMPLETED).count() == 7 * 10


@pytest.mark.skipif(connection.vendor == "sqlite", reason="it ends the server's sessions")
def test_the_database_drops_its_connections(tmp_path):
    ids = [start(x) for x in range(12)]
    with runworker(tmp_path, "--workers=2", settings=LEASE) as process:
        for _ in range(3):
            done = Execution.objects.filter(status=ExecutionStatus.COMPLETED).count()
            drop_connections()
            process.until(
                lambda n=done: (
                    all(map(completed, ids))
                    or Execution.objects.filter(status=ExecutionStatus.COMPLETED).count() > n
                ),
                "progress after the connections were dropped",
            )
        process.until(lambda: all(map(completed, ids)), "all complete")
    assert [result(e) for e in ids] == [seven_calls_output(x) for x in range(12)]


def drop_connections():
    """All but this one."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return
        cursor.execute(
            "SELECT id FROM information_schema.processlist "
            "WHERE db = database() AND id <> connection_id()"
        )
        for (number,) in cursor.fetchall():
            with suppress(OperationalError):  # it has ended by itself
                cursor.execute(f"KILL {number}")
