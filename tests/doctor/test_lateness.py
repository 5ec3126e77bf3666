from datetime import timedelta

import pytest

from durable_monty import operations
from durable_monty.models import Call, Execution, WorkerProcess
from tests.doctor.reports import (
    LATER,
    STAMP,
    begin,
    doctor,
    finding,
    hire,
    is_found,
    is_repaired,
    now,
    waiting,
)

pytestmark = pytest.mark.django_db

BUSY = (
    "Workers are too few or too slow, or stuck: see whether they run and what they log, and start "
    "more of them (manage.py runworker)."
)


@pytest.fixture(autouse=True)
def worker():
    return WorkerProcess.objects.get(pk=hire())


@pytest.fixture
def move_on(move_clock):
    """The clock moves, and the worker is alive still."""

    def move(seconds):
        move_clock(seconds)
        WorkerProcess.objects.update(heartbeat_at=now())

    return move


def test_no_worker(service, worker, move_clock):
    service.start_execution("1", [])
    move_clock(20)
    assert doctor().lines[0] == finding(
        "no-worker",
        "error",
        f"No worker is running (the last sign of life was of {worker}, at {STAMP} (20 s ago)), "
        f"but work is due: 1 execution and 0 calls, the oldest since {STAMP} (20 s ago). Start "
        "one: manage.py runworker.",
        None,
    )


def test_no_worker_and_no_work(move_clock):
    waiting()
    move_clock(20)
    assert doctor().code == 0


def test_late_execution(service, move_on):
    execution_id = service.start_execution("1", [])
    move_on(299)
    assert doctor().code == 0
    move_on(1)
    message = f"this one since {STAMP} (5 min ago). {BUSY}"
    is_found(
        "late-executions",
        "error",
        f"1 execution is due for more than 5 minutes, {message}",
        execution_id,
    )
    assert doctor("--minutes=6").code == 0


def test_late_timer(move_on):
    execution_id = begin("import asyncio\nawait asyncio.sleep(1)")
    move_on(301)
    is_found(
        "late-timers",
        "error",
        "1 sleep is over for more than 5 minutes, this one since 2026-01-31T14:02:04Z "
        f"(5 min ago). {BUSY}",
        execution_id,
        0,
    )


def test_late_calls(move_on):
    begin("import asyncio\nawait asyncio.gather(double(1), double(2))", ["double"])
    move_on(300)
    is_found(
        "late-calls", "error", f"2 calls of double() due since {STAMP} (5 min ago). {BUSY}", None
    )


def test_late_deadlines(register, move_on):
    register("slow", lambda: 1, schedule_to_close=1)
    hire()
    begin("await slow()", ["slow"], deadline=timedelta(seconds=1))
    Call.objects.update(due_at=now() + LATER)
    move_on(301)
    is_found(
        "late-deadlines",
        "error",
        "1 deadline of executions and 1 time-out of calls passed more than 5 minutes ago, and "
        f"nobody acted on them. {BUSY}",
        None,
    )


def test_function_that_no_worker_has(worker, move_on):
    WorkerProcess.objects.update(functions_json="[]")
    begin("await double(1)", ["double"])
    move_on(14)
    assert doctor().code == 0  # a worker may just be starting
    move_on(1)
    is_found(
        "unserved-function",
        "error",
        f"1 call of double() due since {STAMP} (15 s ago), but no running worker has the "
        "function 'double'. Start a worker whose code registers it, in an installed app or "
        "DURABLE_MONTY['FUNCTION_MODULES'].",
        None,
    )


def test_executor_that_nobody_knows(worker, move_on):
    begin("await double(1)", ["double"])
    Call.objects.update(executor="gone")
    move_on(300)
    is_found(
        "unserved-function",
        "error",
        f"1 call of double() due since {STAMP} (5 min ago), but no running worker has the "
        "executor 'gone'. Start a worker whose code registers it, in an installed app or "
        "DURABLE_MONTY['FUNCTION_MODULES'].",
        None,
    )


def test_turn_that_fails(service):
    execution_id = service.start_execution("1", [])
    Execution.objects.update(faults=2)
    is_found(
        "failing-turn",
        "warning",
        "Turn 1 could not be run 2 times; after 5 it fails or is paused. The workers' logs say "
        "why ('execution could not be advanced').",
        execution_id,
    )


def test_execution_held_by_a_stopped_worker(service, worker):
    execution_id = service.start_execution("1", [])
    operations.claim_executions(1, using="default", worker_id=worker.pk)
    operations.retire_worker(worker.pk, using="default")
    hire()
    is_repaired(
        "stopped-worker",
        "warning",
        f"Turn 1 is held until 2026-01-31T14:03:03Z (in 1 min) by worker {worker}, which has "
        "stopped. Let another have it at once (--fix), or wait.",
        "It was made due.",
        execution_id,
    )


def test_call_held_by_a_stopped_worker(worker):
    execution_id = begin("await double(1)", ["double"])
    operations.claim_calls(["double"], ["default"], 1, using="default", worker_id=worker.pk)
    operations.retire_worker(worker.pk, using="default")
    hire()
    is_repaired(
        "stopped-worker",
        "warning",
        "double() is held until 2026-01-31T14:03:03Z (in 1 min) by worker "
        f"{worker}, which has stopped. Let another have it at once (--fix), or wait.",
        "It was made due.",
        execution_id,
        0,
    )


def test_silent_worker(service, worker, move_clock):
    service.start_execution("1", [])
    operations.claim_executions(1, using="default", worker_id=worker.pk)
    move_clock(20)
    hire()
    is_found(
        "silent-worker",
        "warning",
        f"The heartbeat of worker {worker} stopped at {STAMP} (20 s ago), and it still holds 1 "
        "turn and 0 calls. They come back by themselves until 2026-01-31T14:03:03Z (in 40 s). "
        "See why it ended; if it only hangs, stop it.",
        None,
    )
