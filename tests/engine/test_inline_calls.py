"""Young calls: run before they have a row, by the worker that holds their execution."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from django.db import DataError, OperationalError, connection
from django.db.models import F

from durable_monty import LocalExecutor, Retry, Worker, current_call, operations
from durable_monty.engine import engine as module, turns as turns_module
from durable_monty.engine.interpreters import Interpreters, interpreters
from durable_monty.models import Attempt, Call, Execution, Snapshot
from durable_monty.operations import commit as commit_module
from durable_monty.operations.outcomes import TurnResult
from durable_monty.operations.postgresql import PostgreSQL
from durable_monty.operations.postgresql.commit import can_write
from durable_monty.operations.shortcuts import shortcuts_of
from durable_monty.sandbox import Completed, Turn
from tests.processes import until
from tests.support import SEVEN_CALLS, claim, seven_calls_output, work

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker(service):
    """One whose rounds a test runs: `worker.rounds_until(condition, what)`."""
    executor = LocalExecutor(4)
    worker = Worker(service, executor)

    def rounds_until(condition, what):
        until(lambda: (worker.round(), condition())[1], what)

    worker.rounds_until = rounds_until
    yield worker
    worker._engine.drain(10)
    assert executor.stop(10)
    worker.round()
    worker._engine.abandon()


@pytest.fixture
def gate(register):
    """A function, `pass_gate(x)`, that ends when a test lets it: `gate.set()`."""
    gate, entered = threading.Event(), threading.Event()

    def pass_gate(value):
        entered.set()
        assert gate.wait(30)
        return value

    register("pass_gate", pass_gate)
    gate.entered = entered
    return gate


def is_finished(execution_id):
    return Execution.objects.get(pk=execution_id).is_finished


def transactions_of(monkeypatch):
    """The numbers of turns and rows of each commit."""
    seen, commit = [], module.commit

    def noted(outcomes, **options):
        if outcomes:
            seen.append([(len(outcome.turns), len(outcome.calls)) for outcome in outcomes])
        return commit(outcomes, **options)

    monkeypatch.setattr(module, "commit", noted)
    return seen


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("await add(1, 2)", [[(2, 1)]]),
        # What depends on an answer is not run before that is committed: five and two at once,
        # then the last, then the end.
        ("await add(await add(1, 2), await add(3, 4))", [[(2, 2)], [(1, 2)], [(1, 1)]]),
    ],
)
def test_calls_are_written_with_their_answers(service, worker, monkeypatch, source, expected):
    seen = transactions_of(monkeypatch)
    execution_id = service.start_execution(source, ["add"])
    worker.rounds_until(lambda: is_finished(execution_id), "it ends")
    assert seen == expected
    assert set(Call.objects.values_list("status", "attempt")) == {("completed", 1)}
    call = Call.objects.order_by("call_id").first()
    assert call.created_at <= call.started_at <= call.finished_at
    assert call.worker_id == worker.worker_id


def test_clock_is_committed_before_what_depends_on_it_runs(service, worker, monkeypatch):
    seen = transactions_of(monkeypatch)
    source = "from datetime import datetime\nawait echo(str(datetime.now()))"
    execution_id = service.start_execution(source, ["echo"])
    worker.rounds_until(lambda: is_finished(execution_id), "it ends")
    assert seen == [[(1, 2)], [(1, 1)]]


def test_slow_call_gets_its_row_while_it_runs(service, worker, gate):
    source = "from asyncio import gather\nawait gather(add(1, 2), pass_gate(4))"
    execution_id = service.start_execution(source, ["add", "pass_gate"])
    worker.rounds_until(Call.objects.exists, "the calls have rows")
    execution = Execution.objects.get(pk=execution_id)
    assert (execution.claim, execution.call_count) == (None, 2)
    running = Call.objects.get(function="pass_gate")
    assert (running.status, running.attempt) == ("submitted", 1)
    assert running.started_at is not None
    quick = Call.objects.get(function="add")
    assert (quick.status, quick.result) == ("completed", "3")
    gate.set()
    worker.rounds_until(lambda: is_finished(execution_id), "it ends")
    assert service.get_result(execution_id) == [3, 4]
    assert set(Call.objects.values_list("attempt", flat=True)) == {1}


def test_calls_that_no_thread_had_time_for_are_left_to_others(service, worker, gate):
    source = "from asyncio import gather\nawait gather(*[pass_gate(i) for i in range(9)])"
    execution_id = service.start_execution(source, ["pass_gate"])
    worker.rounds_until(Call.objects.exists, "the calls have rows")
    calls = Call.objects.order_by("call_id")
    assert list(calls.values_list("status", flat=True)) == ["submitted"] * 4 + ["pending"] * 5
    assert not calls.filter(status="pending").exclude(attempt=0, claim=None).exists()
    gate.set()
    worker.rounds_until(lambda: is_finished(execution_id), "it ends")
    assert set(Call.objects.values_list("attempt", flat=True)) == {1}


def test_error_goes_the_long_way(service, worker, register):
    attempts = []

    def stumble():
        attempts.append(current_call().attempt)
        if len(attempts) < 3:
            raise OSError("down")
        return "up"

    register("stumble", stumble, retry=Retry(max_attempts=3, initial=0.01, jitter=0))
    execution_id = service.start_execution(
        "[await add(1, 2), await stumble()]", ["add", "stumble"]
    )
    worker.rounds_until(lambda: is_finished(execution_id), "it ends")
    assert service.get_result(execution_id) == [3, "up"]
    assert attempts == [1, 2, 3]
    failed = Attempt.objects.order_by("number")
    assert list(failed.values_list("number", "error_type")) == [(1, "OSError"), (2, "OSError")]


def test_heartbeat_in_the_first_moments_stands_in_the_row(service, worker, register):
    gate, beaten = threading.Event(), threading.Event()

    def report():
        current_call().heartbeat(0.25, "a quarter")
        assert not current_call().cancelled()
        beaten.set()
        assert gate.wait(30)
        current_call().heartbeat(0.5, "half")

    register("report", report)
    execution_id = service.start_execution("await report()", ["report"])
    worker.rounds_until(Call.objects.exists, "the call has a row")
    assert beaten.wait(30)
    call = Call.objects.get()
    assert (call.progress, call.progress_message) == (0.25, "a quarter")
    gate.set()
    worker.rounds_until(lambda: is_finished(execution_id), "it ends")
    assert Call.objects.get().progress_message == "half"


def test_cancelled_while_its_calls_are_young(service, worker, gate, monkeypatch):
    monkeypatch.setattr(turns_module, "_INLINE", 30)
    monkeypatch.setattr(turns_module, "_INLINE_ALL", 30)
    source = "try:\n    await pass_gate(1)\nfinally:\n    await note(path, 'cleaned up')"
    execution_id = service.start_execution(source, ["pass_gate", "note"], {"path": "/dev/null"})
    worker.rounds_until(gate.entered.is_set, "the call runs")
    assert not Call.objects.exists()
    service.cancel_execution(execution_id, "not needed")
    gate.set()
    worker.rounds_until(lambda: is_finished(execution_id), "it ends")
    execution = Execution.objects.get(pk=execution_id)
    assert (execution.status, execution.error_message) == ("cancelled", "not needed")
    assert list(Call.objects.order_by("call_id").values_list("function", "status")) == [
        ("pass_gate", "completed"),
        ("note", "failed"),
    ]


def test_terminated_while_its_calls_are_young(service, worker, register, monkeypatch):
    monkeypatch.setattr(turns_module, "_INLINE", 30)
    monkeypatch.setattr(turns_module, "_INLINE_ALL", 30)
    started, terminated, told = threading.Event(), threading.Event(), threading.Event()

    def last():
        assert terminated.wait(30)
        return "of the lost claim"

    def wait_to_be_told():
        started.set()
        until(lambda: current_call().cancelled(), "it is told")
        told.set()

    register("wait_to_be_told", wait_to_be_told)
    register("last", last)
    source = "from asyncio import gather\nawait gather(last(), wait_to_be_told())"
    execution_id = service.start_execution(source, ["last", "wait_to_be_told"])
    worker.rounds_until(started.is_set, "the call runs")
    service.terminate_execution(execution_id, "enough")
    terminated.set()
    worker.rounds_until(told.is_set, "the function is told")
    execution = Execution.objects.get(pk=execution_id)
    assert (execution.status, execution.turn) == ("cancelled", 0)
    assert not Call.objects.exists()


def test_paused_while_its_calls_are_young(service, worker, gate, monkeypatch):
    monkeypatch.setattr(turns_module, "_INLINE", 30)
    monkeypatch.setattr(turns_module, "_INLINE_ALL", 30)
    source = "await add(await pass_gate(1), 2)"
    execution_id = service.start_execution(source, ["pass_gate", "add"])
    worker.rounds_until(gate.entered.is_set, "the call runs")
    service.pause_execution(execution_id, "a look")
    gate.set()
    worker.rounds_until(lambda: Call.objects.count() == 2, "the turn is committed")
    execution = Execution.objects.get(pk=execution_id)
    assert (execution.status, execution.claim) == ("paused", None)
    service.resume_execution(execution_id)
    worker.rounds_until(lambda: is_finished(execution_id), "it ends")
    assert service.get_result(execution_id) == 3


def test_worker_that_vanishes_with_young_calls(service, register, move_clock):
    """The last turn is run again and makes the same calls, now with rows."""
    begun = []

    source = "await add(await add(1, 2), await add(3, 4))"
    execution_id = service.start_execution(source, ["add"])
    vanishing = Worker(service, LocalExecutor(1))
    run_inline = vanishing.executor.run_inline

    def vanish_at_the_last(calls, begin, answer):
        begun.extend(call.idempotency_key for call in calls)
        if calls[0].call_id < 2:
            run_inline(calls, begin, answer)

    vanishing.executor.run_inline = vanish_at_the_last
    until(lambda: (vanishing.round(), len(begun) == 3)[1], "the last call is begun")
    vanishing._engine.abandon()
    held = Execution.objects.get(pk=execution_id)
    assert (held.turn, held.call_count, held.claim is None) == (3, 2, False)
    assert Call.objects.count() == 2

    move_clock(61)
    work()
    assert service.get_result(execution_id) == 10
    last = Call.objects.get(call_id=2)
    assert (last.idempotency_key, last.args, last.turn) == (begun[-1], "[3,7]", 3)
    assert Execution.objects.get(pk=execution_id).faults == 0


def test_lost_acknowledgement_of_a_held_commit(service, worker, monkeypatch):
    """The commit did happen: whoever made it gives the execution up, and goes on from the
    journal."""
    monkeypatch.setattr(PostgreSQL, "commit", lambda shortcuts, outcomes: None)
    commit, failures = commit_module._commit, [OperationalError("gone")]

    def flaky(outcomes, using, **options):
        changes = commit(outcomes, using, **options)
        if failures and any(outcome.holds for outcome in outcomes):
            raise failures.pop()
        return changes

    monkeypatch.setattr(commit_module, "_commit", flaky)
    monkeypatch.setattr(commit_module, "_WAITS", (0.0,))
    execution_id = service.start_execution(SEVEN_CALLS, ["add", "double"], {"x": 2})
    worker.rounds_until(lambda: is_finished(execution_id), "it ends")
    assert not failures
    assert service.get_result(execution_id) == seven_calls_output(2)
    assert set(Call.objects.values_list("attempt", flat=True)) == {1}


def test_database_that_stays_away_in_a_commit(service, worker, monkeypatch, move_clock):
    monkeypatch.setattr(commit_module, "_WAITS", ())
    monkeypatch.setattr(PostgreSQL, "commit", lambda shortcuts, outcomes: None)
    commit, failures = commit_module._commit, [OperationalError("gone")]

    def flaky(outcomes, using, **options):
        if failures:
            raise failures.pop()
        return commit(outcomes, using, **options)

    monkeypatch.setattr(commit_module, "_commit", flaky)
    execution_id = service.start_execution("await add(1, 2)", ["add"])
    with pytest.raises(OperationalError):
        worker.rounds_until(lambda: False, "it cannot commit")
    assert worker.is_idle
    move_clock(61)
    worker.rounds_until(lambda: is_finished(execution_id), "it ends")
    assert service.get_result(execution_id) == 3


@pytest.mark.skipif(connection.vendor != "postgresql", reason="elsewhere there is no such commit")
@pytest.mark.parametrize("happened", [True, False])
@pytest.mark.parametrize("error", [OperationalError, DataError])
def test_shortcut_of_a_commit_that_fails(  # noqa: PLR0917
    service, worker, monkeypatch, log, happened, error
):
    """The portable one takes its place, in doubt whether it happened."""
    commit, failures = PostgreSQL.commit, [error("gone")]

    def flaky(shortcuts, outcomes):
        if not any(map(can_write, outcomes)) or not failures:
            return commit(shortcuts, outcomes)
        if happened:
            commit(shortcuts, outcomes)
        raise failures.pop()

    monkeypatch.setattr(PostgreSQL, "commit", flaky)
    execution_id = service.start_execution(SEVEN_CALLS, ["add", "double"], {"x": 2})
    worker.rounds_until(lambda: is_finished(execution_id), "it ends")
    assert not failures
    assert f"commit is tried again: execution {execution_id} (unnamed), turn" in log.text
    assert service.get_result(execution_id) == seven_calls_output(2)
    assert Execution.objects.get(pk=execution_id).call_count == Call.objects.count() == 7


@pytest.mark.skipif(connection.vendor != "postgresql", reason="elsewhere there is no such commit")
@pytest.mark.parametrize(
    "change",
    [
        {"claim": uuid.uuid4()},
        {"turn": F("turn") + 1},
        {"wakeups": F("wakeups") + 1},
        {"pause_requested": True},
        {"grace_until": datetime(2100, 1, 1, tzinfo=UTC)},
        {"status": "paused", "due_at": None, "claim": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_shortcut_of_a_commit_is_fenced(service, change):
    """It writes nothing of an execution that something is wanted of."""
    kept, changed = (service.start_execution("1 + 1", []) for _ in range(2))
    claimed = shortcuts_of("default").claim_executions(10, None)
    outcomes = []
    for execution in claimed:
        turn = Turn((), "printed", Completed("2"))
        outcomes.append(TurnResult(execution, (turn,), is_clean=True))
    Execution.objects.filter(pk=changed).update(**change)
    before = Execution.objects.filter(pk=changed).values().get()
    written = shortcuts_of("default").commit(outcomes)
    assert [str(pk) for pk in written] == [kept]
    assert service.get_result(kept) == 2
    assert Execution.objects.filter(pk=changed).values().get() == before


def test_deterministic_failure_of_the_host_runs_no_function_twice(service, worker, register):
    ran = []
    register("ran", ran.append)
    source = "await ran(1)\nx = []\nwhile True: x.append('a' * 5_000_000)"
    execution_id = service.start_execution(source, ["ran"])
    worker.rounds_until(lambda: is_finished(execution_id), "it fails")
    assert ran == [1]
    assert "memory limit exceeded" in service.poll(execution_id)["error"]


def test_wait_for_a_person_leaves_a_live_interpreter(service, worker, monkeypatch):
    loads = []
    monkeypatch.setattr("durable_monty.sandbox.Interpreter.load", lambda *_: loads.append(1))
    execution_id = service.start_execution("await add(await approve(1), 2)", ["approve", "add"])
    worker.rounds_until(Call.objects.exists, "it waits")
    assert Snapshot.objects.filter(pk=execution_id).exists()
    service.complete_call(execution_id, 0, 40)
    worker.rounds_until(lambda: is_finished(execution_id), "it ends")
    assert service.get_result(execution_id) == 42
    assert not loads


class Kept:
    def __init__(self):
        self.closed = False

    def close(self):
        self.closed = True


def test_sessions_give_up_the_longest_unused():
    kept = Interpreters()
    first, second, third = Kept(), Kept(), Kept()
    for name, interpreter in [("a", first), ("b", second)]:
        kept.put(name, 1, interpreter, limit=2)
    assert kept.take("a", 1) is first
    kept.put("a", 2, first, limit=2)
    kept.put("c", 1, third, limit=2)
    assert (first.closed, second.closed, third.closed) == (False, True, False)
    assert kept.take("b", 1) is None
    # Somebody else has advanced it.
    assert kept.take("a", 3) is None
    assert first.closed
    kept.clear()
    assert third.closed


def test_other_process_that_advances_a_parked_execution(service):
    source = "total = 0\nfor i in range(3): total += await approve(i)\ntotal"
    execution_id = service.start_execution(source, ["approve"])
    work()
    service.complete_call(execution_id, 0, 1)
    # Not by the engine, which would take the live interpreter.
    with ThreadPoolExecutor(1) as threads:
        operations.advance_executions([claim(execution_id)], using="default", threads=threads)
    service.complete_call(execution_id, 1, 10)
    work()
    service.complete_call(execution_id, 2, 100)
    work()
    assert service.get_result(execution_id) == 111
    interpreters.clear()
