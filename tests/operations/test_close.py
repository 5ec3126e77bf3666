"""Every way to close a call leaves the same columns behind."""

import pytest
from django.db import connection

from durable_monty import operations
from durable_monty.models import Call, CallStatus, Execution
from durable_monty.models.clock import database_now
from durable_monty.operations import Answer, settle
from durable_monty.operations.answer import closed
from tests.support import advance, run

pytestmark = pytest.mark.django_db(transaction=True)

# What one call and its execution have of their own, or only when.
_OWN = ("id", "execution_id", "seed", "worker_id", "claim")
_MOMENTS = ("created_at", "started_at", "finished_at", "due_at")


def started_call(service):
    execution_id = service.start_execution("await add(1, 2)", ["add"])
    advance(execution_id)
    claims = operations.claim_calls(["add"], ["default"], 1, using="default")
    assert operations.start_attempts(claims, using="default")
    return execution_id, claims[0]


def rows(execution_id):
    found = [Execution.objects.values().get(pk=execution_id)]
    found += Call.objects.values().filter(execution_id=execution_id).order_by("call_id")
    return [
        {name: value for name, value in row.items() if name not in _OWN}
        | {name: row[name] is not None for name in _MOMENTS}
        for row in found
    ]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="elsewhere there is no such")
def test_the_statement_of_postgresql_closes_as_the_portable_way_does(service, monkeypatch):
    written = {}
    for way in ("statement", "portable"):
        execution_id, claimed = started_call(service)
        answers = [(claimed, Answer("3"))]
        if way == "portable":
            monkeypatch.setattr(settle, "settle_results", lambda answers, using: set())
        else:
            assert settle.settle_results(answers, using="default") == {claimed.pk}
        operations.settle_attempts(answers, using="default")
        written[way] = rows(execution_id)
    assert written["statement"] == written["portable"]
    assert written["portable"][1]["result"] == "3"


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize(
    "answer", [Answer("3"), Answer.of_error("ValueError", "no", "Traceback")], ids=["3", "error"]
)
def test_an_answer_of_a_worker_and_one_by_hand_write_the_same(service, answer, by_hand):
    execution_id, claimed = started_call(service)
    if by_hand:
        operations.settle_by_hand(execution_id, 0, answer, using="default")
    else:
        operations.settle_attempt(claimed, answer, using="default")
    call = Call.objects.get(pk=claimed.pk)
    expected = closed(answer, call.finished_at)
    assert {name: getattr(call, name) for name in expected} == expected
    assert Execution.objects.get(pk=execution_id).wakeups == 1


def test_a_call_that_is_withdrawn(service):
    execution = run("await approve('x')", ["approve"])
    service.terminate_execution(execution.pk, "no more")
    call = Call.objects.get()
    expected = closed(None, call.finished_at)
    assert {name: getattr(call, name) for name in expected} == expected
    assert expected["status"] == CallStatus.CANCELLED


def test_a_call_that_closes_is_never_due_again():
    now = database_now("default")
    for answer in (None, Answer("1"), Answer.of_error("ValueError", "no")):
        columns = closed(answer, now)
        assert (columns["finished_at"], columns["due_at"], columns["deadline_at"]) == (
            now,
            None,
            None,
        )
