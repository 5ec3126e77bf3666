import pytest

from durable_monty import operations
from durable_monty.models import Attempt, Call, Execution, Snapshot, WorkerProcess
from tests.doctor.reports import (
    begin,
    doctor,
    finding,
    hire,
    is_found,
    is_repaired,
    now,
    waiting,
)
from tests.support import run, work

pytestmark = pytest.mark.django_db

RESTORE = (
    "Its journal and its row do not belong together, as after a partial restore, and replay will "
    "stop. Restore both from one backup, or terminate it and start it again."
)


@pytest.fixture(autouse=True)
def worker():
    return WorkerProcess.objects.get(pk=hire())


@pytest.mark.parametrize(
    ("calls", "execution", "check", "what"),
    [
        ({"turn": 9}, {}, "turn-ahead", "It is at turn 1, but its calls are at turn 9."),
        ({}, {"call_count": 2}, "call-count", "It made 2 calls, but 1 are stored."),
        (
            {},
            {"turn": 3},
            "turn-without-answer",
            "It ran 3 turns, but answers were delivered in 0 of the later ones.",
        ),
    ],
)
def test_journal_of_another_time(calls, execution, check, what):
    execution_id = waiting()
    Call.objects.update(**calls)
    Execution.objects.update(**execution)
    is_found(check, "error", f"{what} {RESTORE}", execution_id)


def test_answer_delivered_before_its_call():
    code = "await add(await add(1, 2), 3)\nawait approve(1)"
    execution_id = run(code, ["add", "approve"]).pk
    Call.objects.filter(call_id=1).update(turn=3)
    is_found(
        "delivered-too-early",
        "error",
        f"add() was made in turn 3, and its answer delivered in turn 3. {RESTORE}",
        execution_id,
        1,
    )


def test_clock_is_read_in_its_own_turn():
    code = "from datetime import datetime\ndatetime.now()\nawait approve(1)"
    execution_id = run(code, ["approve"]).pk
    assert doctor().code == 0
    clock_calls = Call.objects.filter(kind="clock")
    clock_calls.update(turn=0)
    is_found(
        "delivered-too-early",
        "error",
        f"datetime.now() was made in turn 0, and its answer delivered in turn 1. {RESTORE}",
        execution_id,
        0,
    )


def test_call_ids_may_have_gaps():
    code = "import time\ntry:\n    time.sleep(1)\nexcept RuntimeError:\n    await approve(1)"
    run(code, ["approve"])
    assert Call.objects.get().call_id == 1
    assert doctor().code == 0


@pytest.mark.parametrize(
    ("started", "number", "then"), [(False, 4, 4), (True, 4, 5), (True, 1, 2)]
)
def test_attempts_that_were_miscounted(service, started, number, then):
    execution_id = begin("await double(1)", ["double"])
    claims = operations.claim_calls(["double"], ["default"], 1, using="default")
    if started:
        operations.start_attempts(claims, using="default")
    call = Call.objects.get()
    Attempt.objects.create(call=call, number=number, outcome="failed", ended_at=now())
    is_repaired(
        "attempt-numbers",
        "error",
        f"double() is at attempt {call.attempt}, but attempt {number} has already ended: the end "
        "of the next one cannot be recorded. Go on counting from there (--fix).",
        f"It is at attempt {then}.",
        execution_id,
        0,
    )


def test_snapshot_ahead_of_its_execution(service):
    execution_id = waiting()
    Snapshot.objects.update(turn=7)
    ahead = finding(
        "snapshot-ahead",
        "error",
        "Its snapshot is of turn 7, but it is at turn 1. Delete the snapshot (--fix): the next "
        "turn is replayed from the journal.",
        execution_id,
    )
    assert doctor().lines[0] == ahead
    assert doctor("--fix").code == 0
    assert not Snapshot.objects.exists()
    service.complete_call(execution_id, 0, 5)
    work()
    assert service.get_result(execution_id) == 5


def test_snapshot_of_a_finished_execution():
    execution_id = run("1").pk
    other_id = waiting()
    Snapshot.objects.update(execution=execution_id)
    Execution.objects.filter(pk=other_id).delete()
    report = doctor()
    assert report.lines[0] == finding(
        "snapshot-of-finished",
        "warning",
        "It has finished, and its snapshot only takes room. Delete the snapshot (--fix).",
        execution_id,
    )
    assert doctor("--fix").code == 0
    assert not Snapshot.objects.exists()


def test_snapshot_that_cannot_be_verified():
    execution_id = waiting()
    Snapshot.objects.update(signature="forged")
    is_found(
        "snapshot-unreadable",
        "warning",
        "The snapshot cannot be used: its signature does not fit. Nothing is lost: the next turn "
        "is replayed from the journal and saves a new one. If there are many, see whether "
        "SECRET_KEY was changed; the old key belongs into SECRET_KEY_FALLBACKS.",
        execution_id,
    )
    assert doctor("--fix").code == 1
