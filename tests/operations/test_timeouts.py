import pytest

from durable_monty import Retry, current_call, operations
from durable_monty.exceptions import CallCancelled, LeaseLost, NoCurrentCall
from durable_monty.models import Attempt, Call, Execution
from durable_monty.operations import Answer
from tests.support import advance, run, work

pytestmark = pytest.mark.django_db

CATCHING = """
try:
    out = await slow()
except TimeoutError as e:
    out = str(e)
out
"""


def started(service, register, source=CATCHING, func=lambda: "done", **policy):
    """An execution whose call of `slow` was started, and its claim."""
    register("slow", func, **policy)
    execution_id = service.start_execution(source, ["slow"])
    advance(execution_id)
    return execution_id, start()


def start():
    (claimed,) = operations.claim_calls(["slow"], ["default"], 1, using="default")
    (_call,) = operations.start_attempts([claimed], using="default")
    return claimed


def test_schedule_to_start(service, register, move_clock):
    register("slow", lambda: "done", schedule_to_start=30)
    execution_id = service.start_execution(CATCHING, ["slow"])
    advance(execution_id)
    move_clock(31)
    assert operations.claim_calls(["slow"], ["default"], 1, using="default") == []
    work()
    assert service.get_result(execution_id) == (
        "schedule-to-start: slow() was not started within 30 seconds"
    )
    assert not Attempt.objects.exists()


@pytest.mark.parametrize(
    ("policy", "ends"),
    [
        ({"schedule_to_start": 30}, "schedule-to-start"),
        ({"schedule_to_start": 30, "schedule_to_close": 60}, "schedule-to-start"),
        ({"schedule_to_start": 60, "schedule_to_close": 30}, "schedule-to-close"),
        ({"schedule_to_close": 30}, "schedule-to-close"),
    ],
)
def test_call_that_was_given_back_keeps_its_deadline(service, register, move_clock, policy, ends):
    register("slow", lambda: "done", **policy)
    execution_id = service.start_execution(CATCHING, ["slow"])
    advance(execution_id)
    before = Call.objects.get().deadline_at
    claims = operations.claim_calls(["slow"], ["default"], 1, using="default")
    operations.release_calls(claims, using="default")
    assert Call.objects.get().deadline_at == before
    move_clock(31)
    work()
    assert service.get_result(execution_id).startswith(ends)


def test_started_in_time(service, register, move_clock):
    execution_id, claimed = started(service, register, schedule_to_start=30)
    move_clock(50)
    assert operations.settle_overdue(5, using="default") == 0
    operations.settle_attempt(claimed, Answer('"done"'), using="default")
    work()
    assert service.get_result(execution_id) == "done"


def test_start_to_close(service, register, move_clock):
    execution_id, claimed = started(service, register, start_to_close=20)
    operations.renew_calls([claimed], using="default")
    move_clock(21)
    work()
    assert service.get_result(execution_id) == (
        "start-to-close: slow() did not end within 20 seconds"
    )
    attempt = Attempt.objects.get()
    assert (attempt.number, attempt.outcome) == (1, "timed_out")


def test_attempt_that_overran_is_retried_and_its_answer_refused(service, register, move_clock):
    execution_id, claimed = started(
        service,
        register,
        start_to_close=20,
        retry=Retry(max_attempts=2, initial=0, jitter=0),
    )
    move_clock(21)
    assert operations.settle_overdue(5, using="default") == 1
    # The workflow has no turn to run for it.
    assert Execution.objects.get().due_at is None
    with pytest.raises(LeaseLost, match="it timed out, or another has begun"):
        operations.settle_attempt(claimed, Answer('"late"'), using="default")
    work()
    assert service.get_result(execution_id) == "done"
    assert Call.objects.get().attempt == 2


def test_heartbeat(service, register, move_clock):
    execution_id, claimed = started(service, register, heartbeat=10)
    for _ in range(3):
        move_clock(8)
        assert operations.beat_call(claimed, 0.5, "half", using="default")
    call = Call.objects.get()
    assert (call.progress, call.progress_message) == (0.5, "half")
    move_clock(11)
    work()
    assert service.get_result(execution_id) == (
        "heartbeat: slow() gave no sign of life within 10 seconds"
    )
    assert operations.beat_call(claimed, None, "", using="default") is False


def test_schedule_to_close_is_over_all_attempts(service, register, move_clock):
    def fail():
        raise OSError("down")

    register(
        "slow", fail, schedule_to_close=100, retry=Retry(max_attempts=99, initial=30, jitter=0)
    )
    execution_id = service.start_execution(CATCHING, ["slow"])
    for _ in range(5):
        work()
        move_clock(31)
    work()
    assert service.get_result(execution_id) == (
        "schedule-to-close: slow() was not done within 100 seconds"
    )
    assert set(Attempt.objects.values_list("outcome", flat=True)) == {"failed"}


def test_schedule_to_close_of_a_running_call(service, register, move_clock):
    execution_id, _claimed = started(
        service, register, schedule_to_close=40, start_to_close=35, retry=Retry(max_attempts=9)
    )
    move_clock(41)
    work()
    assert "schedule-to-close" in service.get_result(execution_id)


def test_person_has_until_schedule_to_close(service, register, move_clock):
    register("slow", lambda: True, executor="manual", schedule_to_close=86_400)
    execution_id = service.start_execution(CATCHING, ["slow"])
    work()
    move_clock(86_401)
    work()
    assert service.get_result(execution_id) == (
        "schedule-to-close: slow() was not done within 86400 seconds"
    )


def test_lost_attempt_takes_its_deadlines_with_it(service, register, move_clock):
    started(service, register, start_to_close=100, heartbeat=90, schedule_to_close=1000)
    move_clock(61)
    operations.claim_calls(["slow"], ["default"], 1, using="default")
    call = Call.objects.get()
    assert (call.attempt_end_by, call.heartbeat_by) == (None, None)
    assert call.deadline_at == call.close_by


def test_answered_call_has_no_deadline(service, register):
    execution = run_with_timeouts(register)
    assert execution.calls.get().deadline_at is None


def run_with_timeouts(register):
    register("slow", lambda: 1, start_to_close=5, heartbeat=5, schedule_to_close=9)
    return run("await slow()", ["slow"])


def test_function_knows_its_call(service, register, move_clock):
    seen = {}

    def slow():
        call = current_call()
        seen.update(
            id=call.execution_id,
            number=call.call_id,
            attempt=call.attempt,
            key=call.idempotency_key,
            has_deadline=call.deadline is not None,
        )
        call.heartbeat(2, "x" * 900)
        assert not call.cancelled()
        return "ok"

    register("slow", slow, start_to_close=60)
    execution = run("await slow()", ["slow"])
    assert service.get_result(execution.pk) == "ok"
    assert seen == {
        "id": str(execution.pk),
        "number": 0,
        "attempt": 1,
        "key": f"{execution.pk}:0",
        "has_deadline": True,
    }
    call = Call.objects.get()
    assert call.progress == 1.0
    assert len(call.progress_message) == 500


def test_function_is_told_that_nobody_waits(service, register):
    def slow():
        execution = Execution.objects.get()
        service.complete_call(execution.pk, 0, "by hand")
        call = current_call()
        call.heartbeat()
        with pytest.raises(CallCancelled, match=r"Nobody waits for slow\(\) any more."):
            call.check_cancelled()

    register("slow", slow)
    execution = run("await slow()", ["slow"])
    assert service.get_result(execution.pk) == "by hand"


def test_async_function_knows_its_call(service, register):
    async def slow():
        return current_call().attempt

    register("slow", slow)
    assert service.get_result(run("await slow()", ["slow"]).pk) == 1


def test_no_call_outside_of_one():
    with pytest.raises(NoCurrentCall, match="works inside a registered function"):
        current_call()
