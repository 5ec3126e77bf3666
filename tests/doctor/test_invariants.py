import uuid

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from durable_monty import operations
from durable_monty.models import Call, Execution, WorkerProcess
from durable_monty.operations.repair import REPAIRS, repair
from tests.doctor.reports import (
    LATER,
    STAMP,
    begin,
    doctor,
    hire,
    is_found,
    is_repaired,
    now,
    waiting,
)
from tests.support import claim, run, work

pytestmark = pytest.mark.django_db


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


def test_lost_wakeup(service):
    execution_id = run("await approve(1) + await approve(2)", ["approve"]).pk
    service.complete_call(execution_id, 0, 1)
    Execution.objects.update(due_at=None)
    is_repaired(
        "lost-wake-up",
        "error",
        "1 answer has come and no turn was given it, but nothing wakes the execution. Make it "
        "due (--fix).",
        "It was made due.",
        execution_id,
    )
    work()
    assert Execution.objects.get().turn == 2


def test_lost_wakeup_of_two_answers(service):
    code = "import asyncio\nawait asyncio.gather(approve(1), approve(2))"
    execution_id = run(code, ["approve"]).pk
    for call_id in range(2):
        service.complete_call(execution_id, call_id, 1)
    Execution.objects.update(due_at=None)
    is_found(
        "lost-wake-up",
        "error",
        "2 answers have come and no turn was given them, but nothing wakes the execution. Make it "
        "due (--fix).",
        execution_id,
    )


def test_execution_that_no_worker_would_begin(service):
    execution_id = service.start_execution("1", [])
    Execution.objects.update(due_at=None)
    is_repaired(
        "never-due",
        "error",
        "It has not run a turn, and no worker will ever look at it. Make it due (--fix).",
        "It was made due.",
        execution_id,
    )
    work()
    assert service.get_result(execution_id) == 1


def test_execution_that_waits_for_nothing():
    execution_id = waiting()
    Call.objects.all().delete()
    Execution.objects.update(call_count=0)
    is_found(
        "stranded",
        "error",
        "It waits, but none of its calls is open and no answer is left to deliver: rows of its "
        "journal are gone. Restore its calls from a backup, or terminate it and start it again.",
        execution_id,
    )
    assert doctor("--fix").code == 1


def test_open_call_of_a_finished_execution(service):
    execution_id = run("1").pk
    other_id = waiting()
    Call.objects.update(execution=execution_id)
    Execution.objects.filter(pk=other_id).delete()
    is_repaired(
        "open-call-of-finished",
        "error",
        "It has finished, but 1 call is still open and may be run or shown to people. Withdraw "
        "what is open (--fix).",
        "Its open calls were withdrawn.",
        execution_id,
    )
    assert Call.objects.get().status == "cancelled"


def test_function_that_is_never_due(service):
    execution_id = begin("await double(1)", ["double"])
    Call.objects.update(due_at=None)
    is_repaired(
        "call-never-due",
        "error",
        "double() is open but has no due time. No worker will ever look at it. Make it due "
        "(--fix).",
        "It was made due.",
        execution_id,
        0,
    )
    work()
    assert service.get_result(execution_id) == 2


def test_sleep_that_never_ends(move_on):
    execution_id = begin("import asyncio\nawait asyncio.sleep(90)")
    due_at = Call.objects.get().due_at
    Call.objects.update(due_at=None)
    move_on(3)
    is_repaired(
        "call-never-due",
        "error",
        "asyncio.sleep() is open but has no due time. It never ends. Make it due (--fix).",
        "It ends when it should have, counted from when it began.",
        execution_id,
        0,
    )
    assert Call.objects.get().due_at == due_at


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"claim": uuid.uuid4()}, "double() is pending but still claimed."),
        ({"status": "submitted"}, "double() is submitted without a claim."),
    ],
)
def test_claim_that_does_not_fit(changes, what):
    execution_id = begin("await double(1)", ["double"])
    Call.objects.update(**changes)
    is_repaired(
        "call-claim",
        "warning",
        f"{what} Make it pending, without a claim (--fix).",
        "It is pending, without a claim.",
        execution_id,
        0,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"start_by": "close_by", "deadline_at": None},
        {"start_by": "close_by", "deadline_at": LATER},
        {"close_by": None},
    ],
)
def test_deadline_that_does_not_fit(register, changes):
    register("slow", lambda: 1, schedule_to_close=60)
    hire()
    execution_id = begin("await slow()", ["slow"])
    call = Call.objects.get()
    values = {None: None, "close_by": call.close_by, LATER: call.close_by + LATER}
    Call.objects.update(**{name: values[value] for name, value in changes.items()})
    is_repaired(
        "call-deadline",
        "error",
        "The first deadline of slow() is not the least of its time-outs, so it will not time out "
        "when it should. Work it out again (--fix).",
        "Its first deadline was worked out again.",
        execution_id,
        0,
    )


def test_execution_held_too_long():
    execution_id = waiting()
    claim(execution_id)
    Execution.objects.update(due_at=now() + LATER)
    is_repaired(
        "due-too-late",
        "error",
        "The execution is held until 2026-02-01T14:02:03Z (in 1 d), far longer than a lease "
        "lasts: was the clock of the database set back? Shorten it to a lease from now (--fix).",
        "It comes back in 60 seconds.",
        execution_id,
    )


def test_call_held_too_long():
    execution_id = begin("await double(1)", ["double"])
    operations.claim_calls(["double"], ["default"], 1, using="default")
    Call.objects.update(due_at=now() + LATER)
    is_repaired(
        "due-too-late",
        "error",
        "double() is held until 2026-02-01T14:02:03Z (in 1 d), far longer than a lease lasts: "
        "was the clock of the database set back? Shorten it to a lease from now (--fix).",
        "It comes back in 60 seconds.",
        execution_id,
        0,
    )


def test_pause_that_nobody_heeds():
    execution_id = waiting()
    Execution.objects.update(pause_requested=True)
    is_repaired(
        "pause-unheeded",
        "warning",
        "It is to pause after its turn, and no turn of it runs. Pause it (--fix).",
        "It was paused.",
        execution_id,
    )
    assert Execution.objects.get().status == "paused"


def test_cancel_that_may_last_for_ever():
    execution_id = waiting()
    Execution.objects.update(cancel_requested_at=now())
    is_repaired(
        "cancel-without-grace",
        "error",
        f"It was cancelled at {STAMP} (just now), but its clean-up may last for ever. End "
        "it after the usual grace (--fix).",
        "It is terminated in 30 seconds, unless it ends before.",
        execution_id,
    )


# --- all of them ---


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (Execution, {"finished_at": None, "status": "completed"}),
        (Execution, {"status": "cancelled", "finished_at": F("created_at"), "due_at": LATER}),
        (Execution, {"claim": uuid.uuid4()}),
        (Call, {"status": "cancelled"}),
        (Call, {"delivered_turn": 2}),
        (Call, {"result": "1"}),
    ],
)
def test_what_the_tables_forbid_is_not_looked_for(model, changes):
    waiting()
    changes = {name: now() if value is LATER else value for name, value in changes.items()}
    with pytest.raises(IntegrityError), transaction.atomic():
        model.objects.update(**changes)


def test_repairs_are_known():
    """A check that says it is fixable has its repair: see the tests above for each."""
    with pytest.raises(KeyError):
        repair("stranded", uuid.uuid4(), None, using="default")
    assert repair("never-due", uuid.uuid4(), None, using="default") == ""
    assert len(REPAIRS) == 13


def test_limit(service):
    for _ in range(3):
        service.start_execution("1", [])
    Execution.objects.update(due_at=None)
    more = (
        "error [never-due]: There are more of these than the 2 that are listed: run it again "
        "when they are repaired, or with a higher --limit (0 lists all)."
    )
    report = doctor("--limit=2")
    assert (len(report.lines), report.lines[2]) == (4, more)
    assert len(doctor("--limit=0").lines) == 4
    report = doctor("--limit=2", "--fix")
    assert (report.code, report.lines[-1]) == (1, "2 repaired, 1 wrong.")
    assert doctor("--fix").code == 0


def test_queries_do_not_grow_with_the_data():
    def queries():
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert doctor().code == 0
        return len(captured)

    waiting()
    few = queries()
    for _ in range(5):
        waiting()
    begin("await double(1)", ["double"])
    assert queries() == few
    assert few <= 40
