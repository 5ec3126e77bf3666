"""Signals and log records about ends and failures, from real workers and other processes."""

import json
import signal
from datetime import timedelta

import pytest
from django.db import connection, transaction

from durable_monty import LocalExecutor, OrchestratorService, Retry, Worker, operations, signals
from durable_monty.engine.interpreters import interpreters
from durable_monty.exceptions import ExecutionFinished
from durable_monty.models import Call, Execution
from tests.app.workflows import OutOfStock
from tests.processes import manage
from tests.support import run, work

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ("execution_finished", "execution_failed", "call_failed", "call_waits_for_person")


@pytest.fixture
def sent():
    """What was sent, as (signal, facts); the transaction of the sender must be over."""
    found = []

    def note(name):
        def receiver(signal, sender, **facts):
            assert not connection.in_atomic_block
            found.append((name, facts))

        return receiver

    receivers = {name: note(name) for name in NAMES}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver)
    yield found
    for name, receiver in receivers.items():
        getattr(signals, name).disconnect(receiver)


def start(code, functions=(), **options):
    return OrchestratorService().start_execution(code, functions, name="order", **options)


def of(execution_id, **facts):
    return {"execution_id": execution_id, "name": "order", **facts}


def finished(execution_id, status, error=None):
    return ("execution_finished", of(execution_id, status=status, error=error))


def worked(code, functions=(), **options):
    execution_id = start(code, functions, **options)
    Worker(OrchestratorService(), LocalExecutor(2)).run(until_complete=True)
    return execution_id


def test_completed(sent):
    execution_id = worked("await add(1, 2)", ["add"])
    assert sent == [finished(execution_id, "completed")]


def test_completed_on_the_long_way(sent):
    execution_id = run("await add(await approve(1), 2)", ["add", "approve"], name="order").id
    OrchestratorService().complete_call(execution_id, 0, 1)
    work()
    facts = of(str(execution_id), call_id=0, function="approve")
    assert sent == [
        ("call_waits_for_person", facts),
        finished(str(execution_id), "completed"),
    ]


def test_an_execution_that_fails_by_itself(sent, log):
    execution_id = worked("def pack():\n    raise ValueError('box too small')\npack()")
    facts = of(execution_id, status="failed", error="ValueError: box too small")
    assert sent == [("execution_finished", facts), ("execution_failed", facts)]
    (record,) = [record for record in log.records if record.levelname == "ERROR"]
    assert record.getMessage() == (
        f"Execution {execution_id} (order) failed: ValueError: box too small"
    )
    assert (record.execution_id, record.workflow) == (execution_id, "order")
    assert repr(record.exc_info[1]) == "ValueError('box too small')"
    assert "    raise ValueError('box too small')" in log.text


@pytest.mark.parametrize("way", ["young", "rows"])
def test_a_function_that_is_given_up(sent, log, register, way):
    # A function with a time-out has a row from the start.
    options = {} if way == "young" else {"start_to_close": 60}

    def ship(number):
        raise OutOfStock(f"no more of {number}")

    register("ship", ship, **options)
    execution_id = worked("try:\n    await ship(7)\nexcept Exception:\n    pass", ["ship"])
    error = "OutOfStock: no more of 7"
    assert sent == [
        ("call_failed", of(execution_id, call_id=0, function="ship", error=error)),
        finished(execution_id, "completed"),
    ]
    (record,) = [record for record in log.records if record.levelname == "ERROR"]
    assert record.getMessage() == (
        f"Function ship is given up: call 0 of execution {execution_id} (order), after 1 "
        "attempts: OutOfStock: no more of 7"
    )
    assert (record.execution_id, record.call_id, record.function) == (execution_id, 0, "ship")
    kind, exc, traceback = record.exc_info
    assert (kind, exc.args) == (OutOfStock, ("no more of 7",))
    while traceback.tb_next:
        traceback = traceback.tb_next
    assert traceback.tb_frame.f_code.co_name == "ship"


def test_an_attempt_that_is_retried_is_no_failure(sent, log, register):
    attempts = []

    def flaky():
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError("not yet")

    register("flaky", flaky, retry=Retry(max_attempts=3, initial=0.01))
    execution_id = worked("await flaky()", ["flaky"])
    assert sent == [finished(execution_id, "completed")]
    assert [record for record in log.records if record.levelname == "ERROR"] == []


def test_a_call_that_times_out(sent, move_clock, register):
    register("approve_soon", lambda: None, executor="manual", schedule_to_close=60)
    execution_id = run("await approve_soon()", ["approve_soon"], name="order").id
    del sent[:]
    move_clock(61)
    operations.settle_overdue(10, using="default")
    why = "TimeoutError: schedule-to-close: approve_soon() was not done within 60 seconds"
    facts = of(str(execution_id), call_id=0, function="approve_soon", error=why)
    assert sent == [("call_failed", facts)]


def test_a_call_whose_worker_vanishes(sent, log):
    execution_id = run("await approve(1)", ["approve"], name="order").id
    del sent[:]
    call = Call.objects.get()
    Call.objects.update(
        executor="default", function="add", due_at=call.created_at, losses=2, attempt=3,
        status="submitted", started_at=call.created_at,
        claim="0198aaaa-0000-7000-8000-000000000000",
    )  # fmt: skip
    assert operations.claim_calls(["add"], ["default"], 1, using="default") == []
    ((name, facts),) = sent
    assert (name, facts["execution_id"], facts["function"]) == (
        "call_failed",
        str(execution_id),
        "add",
    )
    assert "its worker vanished 3 times in a row" in log.messages[-1]


def test_an_error_that_a_person_gives_is_told_by_the_execution_alone(sent, log):
    execution_id = run("await approve(1)", ["approve"], name="order").id
    del sent[:]
    OrchestratorService().fail_call(execution_id, 0, "too late")
    work()
    assert [name for name, _facts in sent] == ["execution_finished", "execution_failed"]
    assert [record.levelname for record in log.records] == ["ERROR"]


def cancelled_before_it_began(service):
    execution_id = start("await approve(1)", ["approve"])
    service.cancel_execution(execution_id, "a mistake")
    return execution_id


def cancelled(service):
    execution_id = start("await approve(1)", ["approve"])
    work()
    service.cancel_execution(execution_id, "a mistake")
    work()
    return execution_id


def terminated(service):
    execution_id = start("await approve(1)", ["approve"])
    work()
    service.terminate_execution(execution_id, "a mistake")
    return execution_id


def expired(service):
    execution_id = start("await approve(1)", ["approve"], deadline=timedelta(seconds=5))
    work()
    Execution.objects.update(
        deadline=None, grace_until=Execution.objects.get().created_at, due_at=None
    )
    operations.expire_executions(10, using="default")
    return execution_id


ENDS = [
    (cancelled_before_it_began, "cancelled", "Cancelled: a mistake"),
    (cancelled, "cancelled", "Cancelled: a mistake"),
    (terminated, "cancelled", "Cancelled: a mistake"),
    (
        expired,
        "failed",
        "TimeoutError: The deadline of the execution has passed, and its grace too.",
    ),
]


@pytest.mark.parametrize(
    ("end", "status", "error"), ENDS, ids=lambda each: getattr(each, "__name__", "")
)
def test_ended_from_outside(sent, service, end, status, error):
    execution_id = end(service)
    ends = [each for each in sent if each[0] == "execution_finished"]
    assert ends == [finished(execution_id, status, error)]
    assert ("execution_failed" in dict(sent)) == (status == "failed")
    with pytest.raises(ExecutionFinished):
        service.terminate_execution(execution_id)
    assert len(sent) == len(ends) + sum(name != "execution_finished" for name, _ in sent)


def test_nothing_is_sent_for_what_is_rolled_back(sent, service):
    execution_id = start("await approve(1)", ["approve"])
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        service.terminate_execution(execution_id)
        raise ZeroDivisionError
    assert sent == []
    with transaction.atomic():
        service.terminate_execution(execution_id)
        assert sent == []
    assert sent == [finished(execution_id, "cancelled", "Cancelled: ")]


def test_a_fork_asks_people_again(sent, service):
    execution_id = run("await approve(1)", ["approve"], name="order").id
    del sent[:]
    fork = service.fork_execution(execution_id, 1)
    facts = of(fork, call_id=0, function="approve")
    assert sent == [("call_waits_for_person", facts)]


def test_a_mismatch_is_logged(log, service):
    execution_id = run("await add(await approve(1), 2)", ["add", "approve"], name="order").id
    Call.objects.update(args="[2]")
    Execution.objects.get().snapshot.delete()
    interpreters.clear()
    service.complete_call(execution_id, 0, 1)
    work()
    assert Execution.objects.get().status == "paused"
    (record,) = [record for record in log.records if record.levelname == "ERROR"]
    assert record.getMessage().startswith(
        f"Execution {execution_id} (order) is paused: ReplayMismatch: "
    )


@pytest.mark.parametrize("executor", ["local", "django_q"])
def test_a_receiver_that_raises_harms_nothing(tmp_path, executor):
    """In real workers, which are asked for a failing, a waiting and a cancelled execution."""
    sent = tmp_path / "sent"
    with manage(
        tmp_path,
        "runworker",
        f"--executor={executor}",
        settings={"FUNCTION_MODULES": ["tests.app.receivers"]},
        SIGNALS_FILE=str(sent),
    ) as process:
        failing = start("await fail('OutOfStock', 'sold')", ["fail"])
        waiting = start("await approve(1)", ["approve"])
        process.until(
            lambda: Call.objects.filter(execution=waiting).exists(), "it waits for a person"
        )
        OrchestratorService().complete_call(waiting, 0, True)
        process.until(lambda: not Execution.objects.unfinished().exists(), "both have ended")
        process.signal(signal.SIGTERM)
        process.ends(0)
    log = process.log.read_text()
    found = [json.loads(line) for line in sent.read_text().splitlines()]
    assert sorted([name, facts["execution_id"]] for name, facts in found) == sorted(
        [
            ["call_failed", failing],
            ["call_waits_for_person", waiting],
            ["execution_failed", failing],
            ["execution_finished", failing],
            ["execution_finished", waiting],
        ]
    )
    assert f"Function fail is given up: call 0 of execution {failing} (order)" in log
    assert f"Execution {failing} (order) failed: OutOfStock: sold" in log
    assert "tests.app.workflows.OutOfStock: sold" in log
    assert log.count("ZeroDivisionError: receiver of call_failed") == 1
