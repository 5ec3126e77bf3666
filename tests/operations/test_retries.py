import pytest

from durable_monty import NonRetryable, Retry, RetryAfter, operations
from durable_monty.models import Attempt, Call, Execution
from durable_monty.operations import claim
from tests.support import advance, run, work

pytestmark = pytest.mark.django_db

POLICY = Retry(max_attempts=3, initial=10, backoff=2, jitter=0)


@pytest.fixture
def flaky(register):
    """A function that raises what stands in `script`, one after another, and then returns."""
    script = []

    def flaky():
        if script:
            raise script.pop(0)
        return "done"

    register("flaky", flaky, retry=POLICY)
    return script


def test_failed_attempt_is_tried_again_after_its_wait(service, flaky, move_clock):
    flaky += [ValueError("one"), OSError("two")]
    execution = run("await flaky()", ["flaky"])
    call = execution.calls.get()
    assert (call.status, call.attempt, call.failures, call.claim) == ("pending", 1, 1, None)
    move_clock(9)
    work()
    assert execution.calls.get().attempt == 1
    move_clock(2)
    work()
    assert execution.calls.get().attempt == 2
    move_clock(21)
    work()
    assert service.get_result(execution.pk) == "done"
    call = execution.calls.get()
    assert (call.attempt, call.failures, call.error_type) == (3, 2, "")
    assert list(call.attempts.values_list("number", "outcome", "error_type", "error_message")) == [
        (1, "failed", "ValueError", "one"),
        (2, "failed", "OSError", "two"),
    ]
    first = call.attempts.get(number=1)
    assert "in flaky" in first.error_traceback
    assert first.started_at <= first.ended_at


def test_last_failure_is_raised_inside_the_workflow(service, flaky, move_clock):
    flaky += [ValueError("one"), ValueError("two"), ValueError("three")]
    source = "try:\n    await flaky()\nexcept ValueError as e:\n    out = str(e)\nout"
    execution = run(source, ["flaky"])
    for _ in range(2):
        move_clock(60)
        work()
    assert service.get_result(execution.pk) == "three"
    assert Attempt.objects.count() == 3


def test_execution_sees_nothing_of_a_retry(service, flaky, move_clock):
    flaky += [ValueError("one")]
    execution = run("await flaky()", ["flaky"])
    execution.refresh_from_db()
    assert (execution.turn, execution.wakeups, execution.due_at) == (1, 0, None)


def test_non_retryable_ends_at_once_with_its_cause(flaky):
    failure = NonRetryable("card refused")
    failure.__cause__ = PermissionError("stolen")
    flaky.append(failure)
    execution = run("await flaky()", ["flaky"])
    assert (execution.error_type, execution.error_message) == ("PermissionError", "stolen")


def test_function_says_when(flaky, move_clock):
    flaky.append(RetryAfter(3600, "busy"))
    execution = run("await flaky()", ["flaky"])
    call = execution.calls.get()
    assert 3590 < (call.due_at - call.created_at).total_seconds() < 3660
    assert call.attempts.get().error_message == "busy"


def test_default_policy_is_a_setting(register, durable_settings, move_clock):
    def always():
        raise OSError("down")

    register("always", always)
    durable_settings(RETRY={"max_attempts": 2, "initial": 5, "jitter": 0})
    execution = run("await always()", ["always"])
    assert execution.status == "waiting"
    move_clock(6)
    work()
    execution.refresh_from_db()
    assert (execution.status, execution.calls.get().attempt) == ("failed", 2)


def test_answer_by_hand_ends_the_retries(service, flaky, move_clock):
    flaky += [ValueError("one")] * 3
    execution = run("await flaky()", ["flaky"])
    service.complete_call(execution.pk, 0, "by hand")
    move_clock(3600)
    work()
    assert service.get_result(execution.pk) == "by hand"
    assert execution.calls.get().attempt == 1


def lose(name):
    """An attempt that is started and never heard of again."""
    (claimed,) = operations.claim_calls([name], ["default"], 1, using="default")
    assert operations.start_attempts([claimed], using="default")
    return claimed


def test_lost_worker_spends_no_attempt(service, flaky, move_clock):
    execution_id = service.start_execution("await flaky()", ["flaky"])
    advance(execution_id)
    lose("flaky")
    move_clock(61)
    flaky += [ValueError("one"), ValueError("two")]
    for _ in range(3):
        work()
        move_clock(60)
    assert service.get_result(execution_id) == "done"
    assert list(Attempt.objects.values_list("number", "outcome")) == [
        (1, "lost"),
        (2, "failed"),
        (3, "failed"),
    ]


def test_call_that_kills_its_worker_is_given_up(service, flaky, move_clock):
    execution_id = service.start_execution("await flaky()", ["flaky"])
    advance(execution_id)
    for _ in range(3):
        lose("flaky")
        move_clock(61)
    assert operations.claim_calls(["flaky"], ["default"], 1, using="default") == []
    work()
    execution = Execution.objects.get(pk=execution_id)
    assert execution.error_message == (
        "flaky() was given up: its worker vanished 3 times in a row while it ran. "
        "It may be what kills the process."
    )
    assert Call.objects.get().attempt == 3


def test_worker_that_vanishes_while_it_gives_up_a_call(service, flaky, move_clock, monkeypatch):
    """The next one gives it up too: it is not started a fourth time."""
    execution_id = service.start_execution("await flaky()", ["flaky"])
    advance(execution_id)
    for _ in range(3):
        lose("flaky")
        move_clock(61)
    with monkeypatch.context() as patch:
        patch.setattr(claim, "_give_up", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            operations.claim_calls(["flaky"], ["default"], 1, using="default")
    move_clock(61)
    assert operations.claim_calls(["flaky"], ["default"], 1, using="default") == []
    work()
    assert "its worker vanished 3 times in a row" in Execution.objects.get().error_message
    call = Call.objects.get()
    assert (call.attempt, call.losses) == (3, 3)
    assert list(Attempt.objects.values_list("number", "outcome")) == [
        (1, "lost"),
        (2, "lost"),
        (3, "lost"),
    ]


def test_losses_must_be_in_a_row(service, flaky, move_clock):
    execution_id = service.start_execution("await flaky()", ["flaky"])
    advance(execution_id)
    for _ in range(2):
        lose("flaky")
        move_clock(61)
    flaky.append(ValueError("one"))
    work()
    assert Call.objects.get().losses == 0


def test_claim_that_was_never_started_is_no_loss(service, flaky, move_clock):
    execution_id = service.start_execution("await flaky()", ["flaky"])
    advance(execution_id)
    for _ in range(5):
        operations.claim_calls(["flaky"], ["default"], 1, using="default")
        move_clock(61)
    work()
    assert service.get_result(execution_id) == "done"
    assert not Attempt.objects.exists()


def test_admin_shows_the_attempts(flaky, move_clock, admin_client):
    flaky += [ValueError("<b>one</b>")]
    call = run("await flaky()", ["flaky"]).calls.get()
    page = admin_client.get(f"/admin/durable_monty/call/{call.pk}/change/").content.decode()
    assert "failed attempts" in page.lower()
    assert "ValueError: &lt;b&gt;one&lt;/b&gt;" in page
