import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from durable_monty import Retry, operations
from durable_monty.exceptions import DatabaseNotMigrated
from durable_monty.management.commands import durable_doctor
from durable_monty.models import Call, Execution, WorkerProcess, clock
from tests.doctor.reports import STAMP, begin, doctor, hire
from tests.support import claim, run, work

pytestmark = pytest.mark.django_db

NOTHING = "Nothing wrong."
START = "start one with manage.py runworker."
REGISTER = (
    "start a worker whose code registers it, in an installed app or "
    "DURABLE_MONTY['FUNCTION_MODULES']."
)


@pytest.fixture
def worker():
    return WorkerProcess.objects.get(pk=hire())


def claim_call(function, worker_id=None):
    (claimed,) = operations.claim_calls(
        [function], ["default"], 1, using="default", worker_id=worker_id
    )
    return claimed


def start_call(function, worker_id=None):
    claimed = claim_call(function, worker_id)
    operations.start_attempts([claimed], using="default")
    return claimed


# --- one execution: its sentences ---


def test_scheduled_and_no_worker(service):
    execution_id = service.start_execution("1", [])
    report = doctor(execution_id)
    assert report.code == 1
    assert report.lines == [
        f"Scheduled {STAMP} (just now); it starts as soon as a worker is free. "
        "No worker is running: start one with “manage.py runworker”.",
        f"error [no-worker] {execution_id}: No worker is running (none was ever seen), but "
        f"work is due: 1 execution and 0 calls, the oldest since {STAMP} (just now). "
        "Start one: manage.py runworker.",
        "1 wrong.",
    ]


def test_scheduled(service, worker):
    report = doctor(service.start_execution("1", []))
    assert report.code == 0
    assert report.lines == [
        f"Scheduled {STAMP} (just now); it starts as soon as a worker is free.",
        NOTHING,
    ]


def test_waiting_for_a_person(worker, move_clock):
    execution = run("await approve(1)", ["approve"])
    move_clock(7200)
    WorkerProcess.objects.update(heartbeat_at=clock.database_now("default"))
    report = doctor(execution.pk)
    assert report.code == 0
    assert report.lines == [
        f"Waiting since {STAMP} (2 h ago) for a call: approve (a person).",
        f"Call 0, approve(): waiting for a person since {STAMP} (2 h ago). Answer it in the "
        f"admin, or with OrchestratorService().complete_call('{execution.pk}', 0, result).",
        NOTHING,
    ]


def test_no_worker_has_the_function():
    hire(["add"])
    execution_id = begin("await double(1)", ["double"])
    report = doctor(execution_id)
    assert report.code == 1
    assert report.lines == [
        f"Waiting since {STAMP} (just now) for a call: double (a worker, but no running worker "
        "has the function 'double').",
        f"Call 0, double(): due since {STAMP} (just now). But no running worker has the function "
        f"'double': {REGISTER}",
        f"error [unserved-function] {execution_id}: 1 call of double() due since {STAMP} "
        f"(just now), but no running worker has the function 'double'. S{REGISTER[1:]}",
        "1 wrong.",
    ]


def test_call_and_no_worker():
    report = doctor(begin("await double(1)", ["double"]))
    assert report.lines[1] == (
        f"Call 0, double(): due since {STAMP} (just now). But no worker is running: {START}"
    )
    assert report.code == 1


def test_due_call(worker):
    report = doctor(begin("await double(1)", ["double"]))
    assert report.lines[1:] == [
        f"Call 0, double(): due since {STAMP} (just now). A worker takes it as soon as one is "
        "free.",
        NOTHING,
    ]


def test_retry(register):
    def fail():
        raise OSError("down")

    register("flaky", fail, retry=Retry(max_attempts=5, initial=60, jitter=0))
    hire()
    report = doctor(run("await flaky()", ["flaky"]).pk)
    due = "2026-01-31T14:03:03Z (in 1 min)"
    assert report.code == 0
    assert report.lines == [
        f"Waiting since {STAMP} (just now) for a call: flaky (attempt 2 of 5, retries at {due}).",
        f"Call 0, flaky(): a retry is due at {due} (attempt 2 of 5; the last one: OSError: down). "
        "A worker takes it as soon as one is free.",
        NOTHING,
    ]


def test_running(register, move_clock):
    register("slow", lambda: 1, heartbeat=30, schedule_to_close=600)
    worker = WorkerProcess.objects.get(pk=hire())
    execution_id = begin("await slow()", ["slow"])
    claimed = start_call("slow", worker.pk)
    move_clock(4)
    operations.beat_call(claimed, 0.5, "half", using="default")
    report = doctor(execution_id)
    assert report.code == 0
    assert report.lines == [
        f"Waiting since {STAMP} (4.0 s ago) for a call: slow (attempt 1 on {worker}, "
        "50% done, half).",
        f"Call 0, slow(): attempt 1 runs since {STAMP} (4.0 s ago) on {worker}, 50% done (half); "
        "the next heartbeat must come before 2026-01-31T14:02:37Z (in 30 s). It times out at "
        "2026-01-31T14:02:37Z (in 30 s).",
        NOTHING,
    ]


def test_queued(worker):
    execution_id = begin("await double(1)", ["double"])
    claim_call("double", worker.pk)
    assert doctor(execution_id).lines[1] == (
        f"Call 0, double(): in the queue of {worker}, not started yet; it comes back at "
        "2026-01-31T14:03:03Z (in 1 min)."
    )


def test_job_of_another_engine(worker):
    execution_id = begin("await double(1)", ["double"])
    claimed = start_call("double", worker.pk)
    operations.watch_job(claimed, "job-1", 30.0, using="default")
    Call.objects.update(executor="rq")
    assert doctor(execution_id).lines[1] == (
        f"Call 0, double(): attempt 1 is with rq since {STAMP} (just now), as its job job-1, "
        "which a worker asks about at 2026-01-31T14:02:33Z (in 30 s)."
    )


def test_call_of_a_silent_worker(worker, move_clock):
    execution_id = begin("await double(1)", ["double"])
    start_call("double", worker.pk)
    move_clock(20)
    hire()
    report = doctor(execution_id)
    back = "2026-01-31T14:03:03Z (in 40 s)"
    assert report.code == 1
    assert report.lines[1:] == [
        f"Call 0, double(): held by {worker}, whose heartbeat stopped at {STAMP} (20 s ago). It "
        f"comes back at {back}, when the lease runs out.",
        f"warning [silent-worker] {execution_id}: The heartbeat of worker {worker} stopped at "
        f"{STAMP} (20 s ago), and it still holds 0 turns and 1 call. They come back by "
        f"themselves until {back}. See why it ended; if it only hangs, stop it.",
        "1 wrong.",
    ]


def test_call_whose_lease_ran_out(worker, move_clock):
    execution_id = begin("await double(1)", ["double"])
    start_call("double", worker.pk)
    move_clock(61)
    hire()
    assert doctor(execution_id).lines[1] == (
        f"Call 0, double(): {worker} had it and vanished: its lease ran out at "
        "2026-01-31T14:03:03Z (1.0 s ago). A worker takes it as soon as one is free."
    )


def test_sleeping(worker, move_clock):
    execution_id = begin("import asyncio\nawait asyncio.sleep(90)")
    report = doctor(execution_id)
    until = "2026-01-31T14:03:33Z (in 1 min)"
    assert report.code == 0
    assert report.lines == [
        f"Waiting since {STAMP} (just now) for a call: asyncio.sleep (a sleep until {until}).",
        f"Call 0, asyncio.sleep(): sleeping until {until}.",
        NOTHING,
    ]
    move_clock(100)
    assert doctor(execution_id).lines[1] == (
        "Call 0, asyncio.sleep(): its sleep was over at 2026-01-31T14:03:33Z (10 s ago). "
        f"But no worker is running: {START}"
    )


def test_turn_of_a_silent_worker(service, worker, move_clock):
    execution_id = service.start_execution("1", [])
    operations.claim_executions(1, using="default", worker_id=worker.pk)
    assert doctor(execution_id).lines == [f"Turn 1 runs now on {worker}.", NOTHING]
    move_clock(20)
    hire()
    report = doctor(execution_id)
    assert report.code == 1
    assert report.lines[0] == (
        f"{worker}, whose heartbeat stopped {STAMP} (20 s ago), holds turn 1; another worker "
        "takes it 2026-01-31T14:03:03Z (in 40 s)."
    )
    move_clock(50)
    assert doctor(execution_id).lines[0] == (
        f"{worker} began turn 1 and did not end it; it is run again as soon as a worker is free."
    )


def test_paused_by_hand(service, worker):
    execution = run("await approve(1)", ["approve"])
    service.pause_execution(execution.pk, "month end")
    report = doctor(execution.pk)
    assert report.code == 0
    assert report.lines[:2] == [
        "Paused by hand: month end",
        "Resume it in the admin, or with OrchestratorService().resume_execution("
        f"'{execution.pk}').",
    ]
    service.pause_execution(execution.pk)
    assert doctor(execution.pk).lines[0] == "Paused by hand."


def test_paused_by_a_mismatch(worker):
    execution = run("await approve(1)", ["approve"])
    Execution.objects.update(
        status="paused", error_type="ReplayMismatch", error_message="Replay differs."
    )
    report = doctor(execution.pk)
    assert report.code == 1
    assert report.lines[0] == "Paused, with nothing lost: ReplayMismatch: Replay differs."
    assert report.lines[3] == (
        f"error [replay-mismatch] {execution.pk}: It is paused, with nothing lost. Replay "
        "differs. Its journal was written by another version of its functions or of "
        "pydantic-monty: run workers of that version and resume it, or terminate it and start it "
        "again."
    )


def test_paused_by_faults(worker):
    execution = run("await approve(1)", ["approve"])
    why = "This turn was given up after 5 tries: LookupError: a bug of ours"
    Execution.objects.update(status="paused", error_type="HostFault", error_message=why)
    report = doctor(execution.pk)
    assert report.code == 1
    assert report.lines[0] == f"Paused, with nothing lost: HostFault: {why}"
    assert report.lines[3] == (
        f"error [host-fault] {execution.pk}: It is paused, with nothing lost. {why}. This is "
        "a fault of durable_monty or of its installation, not of the workflow. The workers' logs "
        "have its traceback ('turn failed'). Resume it when the fault is mended."
    )


def test_cancelling(service, worker):
    source = "try:\n    await approve(1)\nfinally:\n    await approve(2)"
    execution = run(source, ["approve"])
    service.cancel_execution(execution.pk, "stop", grace=90)
    work()
    assert doctor(execution.pk).lines[0] == (
        f"Waiting since {STAMP} (just now) for a call: approve (a person). It is being "
        "cancelled, and may clean up until 2026-01-31T14:03:33Z (in 1 min)."
    )


def test_deadline_has_passed(worker, move_clock):
    source = "while True:\n    try: await approve(1)\n    except TimeoutError: pass"
    execution = run(source, ["approve"], deadline=timedelta(seconds=5))
    move_clock(6)
    work()
    assert doctor(execution.pk).lines[0] == (
        "Waiting since 2026-01-31T14:02:09Z (just now) for a call: approve (a person). Its "
        "deadline has passed; it may clean up until 2026-01-31T14:02:39Z (in 30 s)."
    )


def test_pause_was_asked_for(service, worker):
    execution_id = service.start_execution("1", [])
    claim(execution_id)
    service.pause_execution(execution_id)
    assert doctor(execution_id).lines[0] == (
        "Turn 1 runs now on a worker. It pauses after this turn."
    )


def test_turn_is_tried_again(service, worker):
    execution_id = service.start_execution("1", [])
    Execution.objects.update(faults=1)
    assert doctor(execution_id).lines[0] == (
        "The sandbox failed once on turn 1; a worker tries again as soon as one is free."
    )


def test_answer_has_come(service, worker):
    execution = run("await approve(1)", ["approve"])
    service.complete_call(execution.pk, 0, True)
    assert doctor(execution.pk).lines == [
        "An answer has come; turn 2 runs as soon as a worker is free.",
        NOTHING,
    ]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("1", f"Completed {STAMP} (just now), after 0 ms."),
        ("1 / 0", f"Failed {STAMP} (just now), after 0 ms: ZeroDivisionError: division by zero"),
    ],
)
def test_finished(worker, code, sentence):
    report = doctor(run(code).pk)
    assert (report.code, report.lines) == (0, [sentence, NOTHING])


def test_many_calls_are_counted(worker):
    code = "import asyncio\nawait asyncio.gather(*[approve(n) for n in range(12)])"
    lines = doctor(run(code, ["approve"]).pk).lines
    assert (len(lines), lines[-2]) == (13, "2 more calls are open.")


# --- the command ---


def test_healthy(worker):
    run("await approve(1)", ["approve"])
    run("await add(1, 2)", ["add"])
    assert doctor().lines == [NOTHING]


def test_json(service, worker):
    execution = run("await approve(1)", ["approve"])
    service.complete_call(execution.pk, 0, True)
    Execution.objects.update(due_at=None)
    finding = {
        "check": "lost-wake-up",
        "severity": "error",
        "execution": str(execution.pk),
        "call": None,
        "message": "1 answer has come and no turn was given it, but nothing wakes the execution. "
        "Make it due (--fix).",
        "fixable": True,
        "fixed": False,
    }
    report = doctor(json=True)
    assert (report.code, json.loads(report.output)) == (1, {"findings": [finding], "ok": False})
    fixed = finding | {
        "fixed": True,
        "message": f"{finding['message']} Repaired: It was made due.",
    }
    report = doctor("--fix", "--json")
    assert (report.code, json.loads(report.output)) == (0, {"findings": [fixed], "ok": True})
    found = json.loads(doctor(execution.pk, "--json").output)
    assert found["sentences"] == ["An answer has come; turn 2 runs as soon as a worker is free."]


def test_unknown_id():
    with pytest.raises(CommandError) as caught:
        doctor("018f0000-0000-7000-8000-000000000000")
    assert str(caught.value) == (
        "There is no execution 018f0000-0000-7000-8000-000000000000. "
        "Is it in another database (--database)?"
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["7"], "argument EXECUTION_ID: '7' is not an execution id (a UUID)."),
        (["--limit=-1"], "argument --limit: '-1' is not a whole number."),
        (["--minutes=x"], "argument --minutes: 'x' is not a whole number."),
        (["--database=x"], "argument --database: DATABASES has no 'x'; it has default."),
    ],
)
def test_wrong_options(args, message, capsys):
    with pytest.raises(CommandError) as caught:
        call_command("durable_doctor", *args)
    assert str(caught.value) == f"Error: {message}"


def test_not_migrated(monkeypatch):
    def check(using):
        raise DatabaseNotMigrated(using, ["durable_monty.0001_initial"])

    monkeypatch.setattr(durable_doctor, "check_migrated", check)
    report = doctor()
    assert report.code == 1
    assert report.lines == [
        "error [not-migrated]: The database 'default' is not migrated "
        "(durable_monty.0001_initial). Run: manage.py migrate",
        "1 wrong.",
    ]


def test_database_out_of_reach(monkeypatch):
    def check(using):
        raise OperationalError("connection refused")

    monkeypatch.setattr(durable_doctor, "check_migrated", check)
    report = doctor()
    assert report.code == 1
    assert report.lines[0] == (
        "error [unreachable]: The database 'default' cannot be used: connection refused"
    )


def test_looking_changes_nothing(worker):
    begin("await double(1)", ["double"])
    start_call("double", worker.pk)
    before = list(Execution.objects.values()), list(Call.objects.values())
    doctor()
    doctor("--fix")
    assert (list(Execution.objects.values()), list(Call.objects.values())) == before
