"""A batch is not one fate."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DataError, OperationalError, connection
from django.test.utils import CaptureQueriesContext

from durable_monty import operations
from durable_monty.models import Call, Execution, Snapshot
from durable_monty.operations import commit as module, rows
from durable_monty.operations.postgresql import PostgreSQL
from durable_monty.sandbox import Interpreter
from tests.support import SEVEN_CALLS, advance, claim, seven_calls_output, work

SOURCE = "await add(x, 1)"


def start(service, count):
    return [service.start_execution(SOURCE, ["add"], {"x": x}) for x in range(count)]


def advance_all():
    claimed = operations.claim_executions(10, using="default")
    with ThreadPoolExecutor(2) as threads:
        return operations.advance_executions(claimed, using="default", threads=threads)


@pytest.fixture
def refusing(monkeypatch):
    """Makes the database refuse every batch that holds a call with these arguments."""
    refused = {"args": None}
    insert = rows.insert

    def refusing_insert(model, columns, new, **options):
        if any(row[columns.index("args")] == refused["args"] for row in new):
            raise DataError("value out of range")
        insert(model, columns, new, **options)

    def refusing_commit(shortcuts, outcomes):
        calls = [call for outcome in outcomes for call in getattr(outcome, "calls", ())]
        if any(call.args == refused["args"] for call in calls):
            raise DataError("value out of range")
        return commit(shortcuts, outcomes)

    commit = PostgreSQL.commit
    monkeypatch.setattr(rows, "insert", refusing_insert)
    monkeypatch.setattr(PostgreSQL, "commit", refusing_commit)
    return refused


@pytest.mark.django_db(transaction=True)
def test_only_the_refused_execution_is_put_off(service, refusing, log):
    ids = start(service, 3)
    refusing["args"] = "[1,1]"
    assert advance_all() == 2
    refused = Execution.objects.get(pk=ids[1])
    assert (refused.status, refused.turn, refused.faults, refused.claim) == (
        "scheduled", 0, 1, None,
    )  # fmt: skip
    assert {execution.turn for execution in Execution.objects.exclude(pk=ids[1])} == {1}
    why = "value out of range"
    refusal = f"commit was refused: execution {refused.pk} (unnamed), turn 1: {why}"
    assert refusal in log.messages


@pytest.mark.django_db(transaction=True)
def test_execution_that_is_always_refused_fails_in_the_end(service, refusing, move_clock):
    (execution_id,) = start(service, 1)
    refusing["args"] = "[0,1]"
    for _ in range(5):
        advance_all()
        move_clock(61)
    execution = Execution.objects.get(pk=execution_id)
    assert (execution.status, execution.faults) == ("failed", 5)
    assert execution.error_message == (
        "This turn was given up after 5 tries: commit refused: value out of range"
    )


@pytest.mark.django_db
def test_crash_of_the_sandbox_is_tried_again(service, monkeypatch, move_clock):
    (execution_id,) = start(service, 1)
    begin = Interpreter.start

    def crash(self):
        os.kill(self._session.worker_pid, signal.SIGKILL)
        return begin(self)

    monkeypatch.setattr(Interpreter, "start", crash)
    assert advance_all() == 0
    execution = Execution.objects.get(pk=execution_id)
    assert (execution.status, execution.faults) == ("scheduled", 1)
    monkeypatch.undo()
    move_clock(2)
    work()
    assert service.get_result(execution_id) == 1


@pytest.mark.django_db
def test_unexpected_error_in_one_turn_spares_the_others(service, monkeypatch, log):
    ids = start(service, 3)
    begin = Interpreter.start

    def bug(self):
        if '"x":1' in self.workflow.inputs:
            raise LookupError("a bug of ours")
        return begin(self)

    monkeypatch.setattr(Interpreter, "start", bug)
    assert advance_all() == 2
    hurt = Execution.objects.get(pk=ids[1])
    assert (hurt.status, hurt.faults) == ("scheduled", 1)
    assert hurt.due_at is not None
    assert f"turn failed: execution {hurt.pk} (unnamed), turn 1: a bug of ours" in log.messages


@pytest.mark.django_db
def test_execution_that_was_deleted_meanwhile_is_dropped(service):
    first, second = start(service, 2)
    claimed = operations.claim_executions(10, using="default")
    Execution.objects.filter(pk=first).delete()
    with ThreadPoolExecutor(2) as threads:
        assert operations.advance_executions(claimed, using="default", threads=threads) == 1
    assert Call.objects.get().execution_id == Execution.objects.get(pk=second).pk


@pytest.mark.django_db(transaction=True)
def test_lost_connection_in_a_commit_is_tried_again(service, monkeypatch, log):
    (execution_id,) = start(service, 1)
    commit, failures = module._commit, [OperationalError("gone"), OperationalError("still gone")]

    def flaky(outcomes, using, **options):
        done = commit(outcomes, using, **options)
        if failures:
            raise failures.pop()  # the commit happened, its acknowledgement was lost
        return done

    monkeypatch.setattr(PostgreSQL, "commit", lambda shortcuts, outcomes: None)
    monkeypatch.setattr(module, "_commit", flaky)
    monkeypatch.setattr(module, "_WAITS", (0.0, 0.0))
    advance_all()
    execution = Execution.objects.get(pk=execution_id)
    assert (execution.turn, execution.call_count, Call.objects.count()) == (1, 1, 1)
    what = f"commit is tried again: execution {execution_id} (unnamed), turn 1: "
    assert log.messages == [what + "still gone", what + "gone"]


@pytest.mark.django_db
def test_statements_do_not_grow_with_the_history(service):
    execution_id = service.start_execution("for i in range(12): await approve(i)", ["approve"])
    service.process_execution(execution_id)
    counts = []
    for call_id in range(10):
        service.complete_call(execution_id, call_id, None)
        claimed = [claim(execution_id)]
        with ThreadPoolExecutor(1) as threads, CaptureQueriesContext(connection) as captured:
            operations.advance_executions(claimed, using="default", threads=threads)
        queries = [query["sql"] for query in captured.captured_queries]
        counts.append(sum(not sql.startswith(("PREPARE", "DEALLOCATE")) for sql in queries))
    assert len(set(counts)) == 1


@pytest.mark.django_db
def test_batch_of_seven_call_workflows(service):
    ids = [service.start_execution(SEVEN_CALLS, ["add", "double"], {"x": x}) for x in range(20)]
    work()
    assert [service.get_result(execution_id) for execution_id in ids] == [
        seven_calls_output(x) for x in range(20)
    ]


@pytest.mark.django_db
def test_execution_that_ends_its_worker_takes_no_other_with_it(service, move_clock):
    ids = start(service, 3)
    operations.claim_executions(10, using="default")  # and the worker is gone
    move_clock(61)
    suspects = operations.claim_executions(10, using="default")
    assert [(str(suspect.pk), suspect.faults) for suspect in suspects] == [(ids[0], 1)]
    work()
    move_clock(61)
    work()
    assert [service.get_result(execution_id) for execution_id in ids] == [1, 2, 3]
    assert set(Execution.objects.values_list("faults", flat=True)) == {0}


@pytest.mark.django_db
def test_execution_that_always_ends_its_worker_is_given_up(service, move_clock):
    (execution_id,) = start(service, 1)
    for _ in range(5):
        assert len(operations.claim_executions(10, using="default")) == 1
        move_clock(61)
    work()
    execution = Execution.objects.get(pk=execution_id)
    assert (execution.status, execution.error_message) == (
        "failed",
        "This turn was given up after 6 tries: its worker vanished while it ran",
    )


@pytest.mark.django_db
def test_calls_of_an_execution_that_is_given_up_are_withdrawn(service, move_clock):
    source = "from asyncio import gather\nawait gather(add(1, 1), approve(1))"
    execution_id = service.start_execution(source, ["add", "approve"])
    advance(execution_id)
    service.complete_call(execution_id, 0, 2)
    for _ in range(5):
        assert len(operations.claim_executions(10, using="default", only=execution_id)) == 1
        move_clock(61)
    work()
    assert Execution.objects.get(pk=execution_id).status == "failed"
    calls = Call.objects.filter(execution=execution_id).order_by("call_id")
    assert list(calls.values_list("status", flat=True)) == ["completed", "cancelled"]
    assert not Snapshot.objects.filter(pk=execution_id).exists()


@pytest.mark.django_db
def test_bug_of_ours_pauses_an_execution_in_the_end(service, monkeypatch, move_clock, log):
    (execution_id,) = start(service, 1)

    def bug(self):
        raise LookupError("a bug of ours")

    with monkeypatch.context() as patched:
        patched.setattr(Interpreter, "start", bug)
        for _ in range(8):
            advance_all()
            move_clock(61)
    execution = Execution.objects.get(pk=execution_id)
    assert (execution.status, execution.error_type, execution.error_message) == (
        "paused",
        "HostFault",
        "This turn was given up after 5 tries: LookupError: a bug of ours",
    )
    errors = [record.message for record in log.records if record.levelname == "ERROR"]
    failed = f"turn failed: execution {execution_id} (unnamed), turn 1: a bug of ours"
    assert errors.count(failed) == 5 * 2  # each try is a turn, and one from the journal
    service.resume_execution(execution_id)
    work()
    assert service.get_result(execution_id) == 1


@pytest.mark.django_db
def test_resumed_execution_is_paused_again_if_the_bug_is_still_there(
    service, monkeypatch, move_clock
):
    (execution_id,) = start(service, 1)

    def bug(self):
        raise LookupError("a bug of ours")

    monkeypatch.setattr(Interpreter, "start", bug)
    for _ in range(2):
        for _ in range(5):
            advance_all()
            move_clock(61)
        assert Execution.objects.get(pk=execution_id).status == "paused"
        service.resume_execution(execution_id)
