"""Transactions of others that have locked an execution: nobody waits for them but who must."""

import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction

from durable_monty import OrchestratorService, Worker, operations
from durable_monty.executors.local import LocalExecutor
from durable_monty.executors.run import record
from durable_monty.models import Call, Execution, ExecutionStatus, clock
from durable_monty.operations.answer import Answer
from durable_monty.operations.commit import commit
from durable_monty.operations.job_answers import job_id_of
from durable_monty.operations.outcomes import Parked
from tests.processes import until
from tests.support import advance, claim, claimed_call, held, run, started_call, work

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not connection.features.has_select_for_update,
        reason="SQLite has one writer",
    ),
]


def due(*execution_ids):
    """Lets everything that these executions wait for be overdue."""
    rows = Execution.objects.filter(pk__in=execution_ids)
    rows.update(deadline=clock.database_now("default") - timedelta(seconds=1))


def elsewhere(function):
    """Runs it in another thread, on another connection, and returns what it returned."""
    results = []

    def call():
        try:
            results.append(function())
        finally:
            connections.close_all()

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(30)
    assert results, "it waits, or has failed"
    return results[0]


@contextmanager
def working():
    """A worker in a thread, with two threads for functions."""
    worker = Worker(OrchestratorService(), LocalExecutor(2))
    thread = threading.Thread(target=lambda: (worker.run(), connections.close_all()))
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    "source",
    [
        # Its answer is recorded in the row of its call.
        "from asyncio import gather\nawait gather(gate(), approve('x'))",
        # It is delivered in memory, and the turn that follows is to be committed.
        "[await gate(), await add(1, 2)]",
        # Its execution is parked while it runs, and the row that it gets is answered.
        "[await gate(), await add(1, 2)] + []",
    ],
    ids=["row", "inline", "parked"],
)
def test_a_long_transaction_delays_only_its_own_execution(service, register, request, source):
    begun, goes_on = threading.Event(), threading.Event()

    def gate():
        begun.set()
        assert goes_on.wait(30)
        return 1

    register("gate", gate)
    execution_id = service.start_execution(source, ["gate", "approve", "add"])
    is_row = "gather" in source

    def others():
        ids = [
            service.start_execution("await add(await double(x), 1)", ["add", "double"], {"x": x})
            for x in range(10)
        ]
        return [service.wait(each, timeout=20) for each in ids]

    with working():
        assert begun.wait(10)
        if is_row:
            until(lambda: Call.objects.filter(function="approve").exists(), "both have rows")
        elif request.node.callspec.id == "parked":
            until(lambda: Call.objects.filter(function="gate").exists(), "it is parked")
        with transaction.atomic():
            if is_row:
                service.complete_call(execution_id, 1, "yes")
            else:
                Execution.objects.select_for_update().get(pk=execution_id)
            goes_on.set()
            assert elsewhere(others) == [2 * x + 1 for x in range(10)]
            assert Execution.objects.get(pk=execution_id).status != ExecutionStatus.COMPLETED
        assert service.wait(execution_id, timeout=20) == ([1, "yes"] if is_row else [1, 3])
    assert Call.objects.filter(attempt__gt=1).count() == 0


def two_started():
    """Two calls of two executions that run."""
    calls = [claimed_call() for _ in range(2)]
    operations.start_attempts([claimed for _call, claimed in calls], using="default")
    return calls


def statuses(*calls):
    return [Call.objects.get(pk=call.pk).status for call in calls]


def test_answers_of_locked_executions_are_recorded_later():
    (first, claim1), (second, claim2) = two_started()
    answers = [(claim1, Answer("3")), (claim2, Answer("4"))]
    with held(first.execution_id):
        blocked = []
        assert operations.settle_attempts(answers, using="default", blocked=blocked) == []
        assert blocked == answers[:1]
        assert statuses(first, second) == ["submitted", "completed"]
    assert operations.settle_attempts(blocked, using="default", blocked=[]) == []
    assert statuses(first, second) == ["completed", "completed"]
    work()
    assert set(Execution.objects.values_list("output", flat=True)) == {"3", "4"}


@pytest.mark.parametrize("retry_in", [None, 0.0])
def test_errors_of_locked_executions_are_recorded_later(retry_in):
    (first, claim1), (second, claim2) = two_started()
    error = Answer.of_error("ValueError", "no")._replace(retry_in=retry_in)
    with held(first.execution_id):
        blocked = []
        given = [(claim1, error), (claim2, error)]
        assert operations.record_answers(given, using="default", blocked=blocked) == []
        assert blocked == given[:1]
    expected = "failed" if retry_in is None else "pending"
    assert statuses(first, second) == ["submitted", expected]
    assert operations.record_answers(blocked, using="default") == []
    assert statuses(first, second) == [expected, expected]


def test_executor_records_other_answers_before_it_waits():
    (first, claim1), (second, claim2) = two_started()
    with held(first.execution_id):
        answers = [(claim1, Answer("3")), (claim2, Answer("4"))]
        thread = threading.Thread(
            target=lambda: (record(answers, "default"), connections.close_all())
        )
        thread.start()
        until(lambda: statuses(second) == ["completed"], "the other is recorded")
        assert thread.is_alive()
    thread.join(20)
    assert statuses(first) == ["completed"]


def test_jobs_of_locked_executions_are_recorded_later():
    (first, claim1), (second, claim2) = two_started()
    ids = [job_id_of(claimed) for claimed in (claim1, claim2)]
    jobs = [(job_id, {"status": "finished", "result": 5}) for job_id in ids]
    with held(first.execution_id):
        blocked = []
        assert operations.settle_jobs(jobs, using="default", blocked=blocked) == []
        assert blocked == ids[:1]
        assert statuses(first, second) == ["submitted", "completed"]
    assert operations.settle_jobs(jobs, using="default") == []
    assert statuses(first, second) == ["completed", "completed"]


def test_turns_of_locked_executions_are_committed_later():
    ids = [OrchestratorService().start_execution("1", []) for _ in range(2)]
    claims = [claim(pk) for pk in ids]
    with held(ids[0]):
        blocked = []
        written = commit([Parked(each) for each in claims], using="default", blocked=blocked)
        assert set(written) == {claims[1].pk}
        assert [outcome.execution for outcome in blocked] == claims[:1]
    assert set(commit(blocked, using="default", blocked=[])) == {claims[0].pk}
    assert Execution.objects.filter(claim=None).count() == 2


def test_a_turn_that_is_fenced_out_is_not_committed_later():
    claims = [claim(OrchestratorService().start_execution("1", [])) for _ in range(2)]
    Execution.objects.filter(pk=claims[0].pk).update(claim=None)
    with held(claims[0].pk, claims[1].pk):
        blocked = []
        assert commit([Parked(each) for each in claims], using="default", blocked=blocked) == {}
        assert [outcome.execution for outcome in blocked] == claims[1:]


def test_leases_are_renewed_beside_locked_rows(move_clock):
    (first, claim1), (second, claim2) = two_started()
    before = dict(Call.objects.values_list("pk", "due_at"))
    executions = [claim(OrchestratorService().start_execution("1", [])) for _ in range(2)]
    leases = {each.pk: each.due_at for each in executions}
    move_clock(5)
    with held(executions[0].pk), transaction.atomic():
        list(Call.objects.select_for_update().filter(pk=first.pk))
        elsewhere(lambda: operations.renew_calls([claim1, claim2], using="default") or True)
        elsewhere(lambda: operations.renew_executions(executions, using="default") or True)
    after = dict(Call.objects.values_list("pk", "due_at"))
    assert after[first.pk] == before[first.pk]
    assert after[second.pk] > before[second.pk]
    rows = dict(Execution.objects.filter(pk__in=leases).values_list("pk", "due_at"))
    assert [rows[each.pk] > leases[each.pk] for each in executions] == [False, True]


def test_timers_of_locked_executions_fire_later(move_clock):
    first, second = (run("from asyncio import sleep\nawait sleep(9)").pk for _ in range(2))
    move_clock(10)
    with held(first):
        assert operations.settle_timers(10, using="default") == 1
        assert operations.settle_timers(10, using="default") == 0
        assert Call.objects.get(execution=second).status == "completed"
    assert operations.settle_timers(10, using="default") == 1


def test_time_outs_of_locked_executions_pass_later(register, move_clock):
    register("slow", print, start_to_close=5)
    ids = [OrchestratorService().start_execution("await slow()", ["slow"]) for _ in range(2)]
    for pk in ids:
        advance(pk)
    claims = operations.claim_calls(["slow"], ["default"], 2, using="default")
    operations.start_attempts(claims, using="default")
    move_clock(6)
    with held(ids[0]):
        assert operations.settle_overdue(10, using="default") == 1
        assert operations.settle_overdue(10, using="default") == 0
    assert operations.settle_overdue(10, using="default") == 1
    assert set(Call.objects.values_list("error_type", flat=True)) == {"TimeoutError"}


def test_locked_executions_expire_later():
    first, second = (run("await approve('x')", ["approve"]).pk for _ in range(2))
    due(first, second)
    with held(first):
        assert operations.expire_executions(10, using="default") == 1
        assert operations.expire_executions(10, using="default") == 0
    assert operations.expire_executions(10, using="default") == 1


def test_calls_that_ended_their_workers_are_given_up_later(move_clock):
    first, second = started_call().execution_id, started_call().execution_id
    Call.objects.update(losses=2)

    def lose():
        claims = operations.claim_calls(["add"], ["default"], 2, using="default")
        operations.start_attempts(claims, using="default")
        move_clock(61)

    lose()
    with held(first):
        lose()
        statuses = dict(Call.objects.values_list("execution", "status"))
        assert [pk for pk, status in statuses.items() if status == "failed"] == [second]
    lose()
    assert set(Call.objects.values_list("status", flat=True)) == {"failed"}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="others lock the referred row")
def test_rows_that_refer_to_an_execution_do_not_wait_for_a_worker():
    """A project's own models may have a foreign key to Execution."""
    call, _claimed = claimed_call()
    with transaction.atomic():
        operations.cancel_execution(call.execution_id, "", using="default")

        def insert():
            with transaction.atomic():
                copy = Call.objects.get(pk=call.pk)
                copy.pk, copy.call_id = None, 99
                copy.save(force_insert=True)
            return True

        assert elsewhere(insert)
