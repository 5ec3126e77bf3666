import threading

import pytest
from django.db import connection

from durable_monty import OrchestratorService, Retry, current_call
from durable_monty.exceptions import (
    CallNotFound,
    CallNotWaiting,
    ExecutionNotFound,
    NothingToRetry,
)
from durable_monty.models import Call, Execution
from tests.support import run, work

pytestmark = pytest.mark.django_db

NOWHERE = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def flaky(register):
    """Registers a function that fails as long as `errors` holds something."""
    errors = []

    def flaky(number):
        if errors:
            raise errors.pop()
        return number

    def add(**policy):
        register("flaky", flaky, **policy)
        return errors

    return add


def test_a_call_that_waits_for_its_retry_is_tried_now(service, flaky):
    flaky(retry=Retry(2, initial=3600), schedule_to_start=60).append(ValueError("once"))
    execution = run("await flaky(1)", ["flaky"])
    waiting = Call.objects.get()

    service.retry_call(execution.pk, 0)

    call = Call.objects.get()
    assert call.due_at < waiting.due_at
    assert (call.start_by - call.due_at).total_seconds() == 60
    assert call.deadline_at == call.start_by
    assert (call.failures, call.attempts.count()) == (1, 1)
    work()
    assert service.get_result(execution.pk) == 1


def test_all_that_wait_for_a_retry(service, flaky):
    flaky(retry=Retry(2, initial=3600)).extend([ValueError("one"), ValueError("two")])
    code = "from asyncio import gather\nawait gather(flaky(1), flaky(2), approve('it'))"
    execution = run(code, ["flaky", "approve"])

    assert service.retry_execution(execution.pk) == str(execution.pk)
    work()

    results = list(Call.objects.order_by("call_id").values_list("result", flat=True))
    assert results == ["1", "2", None]


@pytest.mark.parametrize(
    "error",
    [ValueError("broken"), type("CardDeclined", (Exception,), {})("broken")],
)
def test_what_failed_because_of_a_call_goes_on_in_a_fork(service, flaky, error):
    flaky().append(error)
    code = """
x = await add(1, 2)
try:
    y = await flaky(x)
finally:
    await add(0, 0)
[x, y]
"""
    failed = run(code, ["add", "flaky"], name="payment")
    assert (failed.status, failed.turn) == ("failed", 4)

    fork = service.retry_execution(failed.pk, key="again")

    assert Call.objects.filter(execution=fork).count() == 2
    assert service.get_pending_calls(fork)[0]["function_name"] == "flaky"
    work()
    assert service.get_result(fork) == [3, 3]
    assert Call.objects.get(execution=failed, call_id=1).status == "failed"
    assert service.retry_execution(failed.pk, key="again") == fork


def test_calls_that_failed_at_once_are_tried_again_together(service, flaky):
    flaky().extend([ValueError("one"), ValueError("two")])
    code = "from asyncio import gather\nawait gather(flaky(1), flaky(2), add(1, 2))"
    failed = run(code, ["flaky", "add"])
    assert failed.status == "failed"

    fork = service.retry_execution(failed.pk)

    work()
    assert service.get_result(fork) == [1, 2, 3]


def test_the_failure_of_the_last_turn_counts_whatever_was_raised(service, flaky):
    flaky().append(ValueError("lost"))
    code = """
try:
    x = await flaky(1)
except ValueError:
    raise KeyError("other")
x
"""
    failed = run(code, ["flaky"])
    assert failed.error_type == "KeyError"

    fork = service.retry_execution(failed.pk)

    work()
    assert service.get_result(fork) == 1


@pytest.fixture
def failed(flaky, register):
    """An execution that failed because of `flaky`, which keeps the keys it was called under."""
    keys, errors = [], flaky()

    def charge(number):
        keys.append(current_call().idempotency_key)
        if errors:
            raise errors.pop()
        return number

    register("charge", charge)
    errors.extend([ValueError("third"), ValueError("second"), ValueError("first")])
    execution = run("x = await add(1, 2)\nawait charge(x)", ["add", "charge"], name="payment")
    return execution, keys, errors


def test_a_retry_is_made_once_and_marks_what_was_retried(service, failed):
    execution, keys, errors = failed
    errors.clear()

    first = service.retry_execution(execution.pk)
    assert service.retry_execution(execution.pk, key="other", keep_keys=False) == first
    work()
    assert service.retry_execution(execution.pk) == first

    assert Execution.objects.count() == 2
    assert service.get_result(first) == 3
    # A service outside recognises the second try of the same charge.
    assert keys == [f"{execution.pk}:1"] * 2
    execution.refresh_from_db()
    assert (str(execution.retried_by_id), execution.status) == (first, "failed")
    assert execution.handled_at == execution.retried_by.created_at
    assert not Execution.objects.failures().exists()


def test_a_retry_that_failed_is_retried_itself_under_the_first_key(service, failed):
    execution, keys, errors = failed
    errors.pop()
    second = service.retry_execution(execution.pk)
    work()
    assert [str(row.pk) for row in Execution.objects.failures()] == [second]
    assert service.retry_execution(execution.pk) == second

    third = service.retry_execution(second)
    work()

    assert service.get_result(third) == 3
    assert keys == [f"{execution.pk}:1"] * 3
    assert not Execution.objects.failures().exists()


def test_a_retry_may_have_a_new_key(service, failed):
    execution, keys, errors = failed
    errors.clear()
    retry = service.retry_execution(execution.pk, keep_keys=False)
    work()
    assert keys == [f"{execution.pk}:1", f"{retry}:1"]


@pytest.mark.parametrize("keep_keys", [False, True])
def test_a_fork_has_new_keys_unless_they_are_kept(service, failed, keep_keys):
    execution, keys, errors = failed
    errors.clear()
    fork = service.fork_execution(execution.pk, 2, ask_again=[1], keep_keys=keep_keys)
    work()
    assert keys == [f"{execution.pk}:1", f"{execution.pk if keep_keys else fork}:1"]
    # It is no retry: what it was forked from is still to be handled.
    assert [row.pk for row in Execution.objects.failures()] == [execution.pk]


def test_calls_made_after_the_retried_one_have_keys_of_their_own(service, flaky, register):
    keys = []
    register("ship", lambda: keys.append(current_call().idempotency_key))
    flaky().append(ValueError("once"))
    failed = run("await flaky(1)\nawait ship()", ["flaky", "ship"])

    retry = service.retry_execution(failed.pk)
    work()

    assert keys == [f"{retry}:1"]


def test_a_retry_that_was_deleted_can_be_made_again(service, failed):
    execution, _keys, errors = failed
    errors.clear()
    Execution.objects.get(pk=service.retry_execution(execution.pk)).delete()

    again = service.retry_execution(execution.pk)

    work()
    assert service.get_result(again) == 3


@pytest.mark.django_db(transaction=True)
def test_operators_who_retry_at_the_same_moment_make_one(failed):
    execution, keys, errors = failed
    errors.clear()
    barrier, ids, problems = threading.Barrier(4), [], []

    def retry():
        try:
            barrier.wait(10)
            ids.append(OrchestratorService().retry_execution(execution.pk))
        except Exception as exc:
            problems.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=retry) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert (len(ids), len({*ids}), Execution.objects.count()) == (4, 1, 2)
    work()
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("code", "functions", "status", "why"),
    [
        ("await add(1, 2)\n1 / 0", ["add"], "failed", "no failed call that ended it"),
        ("await add(1, 2)", ["add"], "completed", "no failed call that ended it"),
        ("await approve('it')", ["approve"], "waiting", "no call of it that waits for a retry"),
    ],
)
def test_nothing_to_retry(service, code, functions, status, why):
    execution = run(code, functions)

    with pytest.raises(NothingToRetry) as raised:
        service.retry_execution(execution.pk)

    assert str(raised.value) == f"Execution {execution.pk} is {status}, and there is {why}."
    assert Execution.objects.count() == 1


def test_a_cancelled_execution_is_not_retried(service):
    execution = run("await approve('it')", ["approve"])
    service.cancel_execution(execution.pk)
    work()

    with pytest.raises(NothingToRetry, match="is cancelled, and there is no failed call"):
        service.retry_execution(execution.pk)


def test_calls_that_do_not_wait_for_a_retry(service):
    execution = run("await add(1, 2)\nawait approve('it')", ["add", "approve"])

    with pytest.raises(CallNotWaiting) as raised:
        service.retry_call(execution.pk, 0)
    assert str(raised.value) == (
        f"Call 0 of execution {execution.pk} is completed, and does not wait for a retry. "
        "Nothing was changed."
    )
    with pytest.raises(CallNotWaiting, match="Call 1 of execution .* is pending"):
        service.retry_call(execution.pk, 1)
    with pytest.raises(CallNotFound):
        service.retry_call(execution.pk, 2)
    for retry in (service.retry_execution, lambda pk: service.retry_call(pk, 0)):
        with pytest.raises(ExecutionNotFound):
            retry(NOWHERE)
