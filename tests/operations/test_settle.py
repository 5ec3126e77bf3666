import threading

import pytest
from django.db import connection

from durable_monty import OrchestratorService, operations
from durable_monty.exceptions import (
    CallNotFound,
    CallSettled,
    InvalidWorkflow,
    LeaseLost,
    UnstorableValue,
)
from durable_monty.models import Call, Execution
from durable_monty.operations import Answer
from tests.support import advance, run, work

pytestmark = pytest.mark.django_db


def state():
    """All that an answer may change."""
    return list(Call.objects.order_by("pk").values()), list(
        Execution.objects.values("pk", "wakeups", "due_at", "status")
    )


@pytest.fixture
def waiting(service):
    """An execution that waits for a person, and its call."""
    return run("await approve('x')", ["approve"])


@pytest.fixture
def claimed(service):
    """A call that was claimed and started, as an executor does."""
    execution_id = service.start_execution("await add(1, 2)", ["add"])
    advance(execution_id)
    return claim_one()


def claim_one():
    (claimed,) = operations.claim_calls(["add"], ["default"], 5, using="default")
    assert operations.start_attempts([claimed], using="default")
    return claimed


def test_answer_wakes_the_execution(service, waiting):
    service.complete_call(waiting.pk, 0, {"ok": True})
    waiting.refresh_from_db()
    assert (waiting.wakeups, waiting.status) == (1, "waiting")
    assert waiting.due_at is not None


def test_failure_by_hand(service, waiting):
    service.fail_call(waiting.pk, 0, ValueError("too dear"), reason="over budget")
    work()
    waiting.refresh_from_db()
    assert (waiting.error_type, waiting.error_message) == ("ValueError", "too dear")


def test_failure_by_hand_with_a_message_only(service, waiting):
    service.fail_call(waiting.pk, 0, "no")
    work()
    waiting.refresh_from_db()
    assert (waiting.error_type, waiting.error_message) == ("RuntimeError", "no")


@pytest.mark.parametrize("second", ["complete", "fail"])
def test_second_answer_is_refused_and_changes_nothing(service, waiting, second):
    service.complete_call(waiting.pk, 0, 1)
    before = state()
    with pytest.raises(CallSettled) as caught:
        if second == "complete":
            service.complete_call(waiting.pk, 0, 1)
        else:
            service.fail_call(waiting.pk, 0, "no")
    wanted = {"complete": "completed", "fail": "failed"}[second]
    assert str(caught.value) == (
        f"Call 0 of execution {waiting.pk} is already completed; it cannot become {wanted}. "
        "Nothing was changed."
    )
    assert state() == before


def test_withdrawn_call_is_refused(service):
    execution = run(
        "from asyncio import gather\nawait gather(approve(1), fail('ValueError', 'x'))",
        ["approve", "fail"],
    )
    with pytest.raises(CallSettled, match="is already cancelled; it cannot become completed"):
        service.complete_call(execution.pk, 0, 1)


def test_unknown_call(service, waiting):
    with pytest.raises(CallNotFound, match=f"Execution {waiting.pk} has no call 5."):
        service.complete_call(waiting.pk, 5, 1)
    with pytest.raises(InvalidWorkflow, match="call_id must be an int, not '0'"):
        service.complete_call(waiting.pk, "0", 1)


def test_unstorable_answer_names_the_path(service, waiting):
    before = state()
    with pytest.raises(UnstorableValue, match=r"^result\['a'\]\[1\]: "):
        service.complete_call(waiting.pk, 0, {"a": [1, object()]})
    assert state() == before


def test_too_large_an_answer(service, waiting, durable_settings):
    durable_settings(MAX_VALUE_BYTES=100)
    with pytest.raises(UnstorableValue, match="^result: .* at most 100 "):
        service.complete_call(waiting.pk, 0, "x" * 200)


def test_same_attempt_may_say_the_same_again(claimed):
    for _ in range(2):
        operations.settle_attempt(claimed, Answer("3"), using="default")
    with pytest.raises(CallSettled):
        operations.settle_attempt(claimed, Answer("4"), using="default")
    assert Call.objects.get().result == "3"


def test_late_answer_is_taken_while_nobody_else_claimed_the_call(claimed, move_clock):
    move_clock(3600)
    operations.settle_attempt(claimed, Answer("3"), using="default")
    assert Call.objects.get().status == "completed"


def test_answer_of_an_attempt_that_lost_its_lease_is_refused(claimed, move_clock):
    move_clock(61)
    second = claim_one()
    with pytest.raises(LeaseLost, match="This attempt no longer holds call 0 of execution"):
        operations.settle_attempt(claimed, Answer("3"), using="default")
    operations.settle_attempt(second, Answer("3"), using="default")
    with pytest.raises(CallSettled):
        operations.settle_attempt(claimed, Answer("3"), using="default")
    assert Call.objects.get().attempt == 2


def test_answer_of_an_attempt_that_lost_its_lease_wakes_nobody(claimed, move_clock):
    move_clock(61)
    claim_one()
    before = state()
    with pytest.raises(LeaseLost):
        operations.settle_attempt(claimed, Answer("3"), using="default")
    assert state() == before


def test_answer_by_hand_wins_over_a_running_attempt(service, claimed):
    execution_id = Call.objects.get().execution_id
    service.complete_call(execution_id, 0, 99)
    with pytest.raises(CallSettled):
        operations.settle_attempt(claimed, Answer("3"), using="default")
    assert Call.objects.get().result == "99"


def test_claim_that_was_not_started_in_time_starts_nothing(claimed, move_clock):
    move_clock(61)
    (slow,) = operations.claim_calls(["add"], ["default"], 5, using="default")
    move_clock(61)
    (quick,) = operations.claim_calls(["add"], ["default"], 5, using="default")
    assert operations.start_attempts([slow], using="default") == []
    assert len(operations.start_attempts([quick], using="default")) == 1


def test_claim_starts_one_attempt(claimed):
    assert operations.start_attempts([claimed], using="default") == []
    assert Call.objects.get().attempt == 1


def test_renewed_lease_keeps_others_away(claimed, move_clock):
    for _ in range(3):
        move_clock(40)
        operations.renew_calls([claimed], using="default")
        assert operations.claim_calls(["add"], ["default"], 5, using="default") == []
    move_clock(61)
    assert len(operations.claim_calls(["add"], ["default"], 5, using="default")) == 1


def test_released_call_can_be_claimed_at_once(claimed):
    operations.release_calls([claimed], using="default")
    assert len(operations.claim_calls(["add"], ["default"], 5, using="default")) == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_answers_at_once_exactly_one_wins(service):
    execution_id = service.start_execution("await approve('x')", ["approve"])
    advance(execution_id)
    barrier = threading.Barrier(6)
    won, refused = [], []

    def answer(number):
        try:
            barrier.wait(10)
            OrchestratorService().complete_call(execution_id, 0, number)
            won.append(number)
        except CallSettled:
            refused.append(number)
        finally:
            connection.close()

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(won), len(refused)) == (1, 5)
    advance(execution_id)
    assert service.get_result(execution_id) == won[0]


def test_answer_of_a_deleted_call_is_refused(claimed):
    Execution.objects.all().delete()
    (refusal,) = operations.settle_attempts([(claimed, Answer("3"))], using="default")
    assert str(refusal) == f"Execution (deleted) has no call {claimed.pk}."
