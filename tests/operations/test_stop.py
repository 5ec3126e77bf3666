from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from math import inf, nan

import pytest

from durable_monty import current_call, operations
from durable_monty.exceptions import (
    CallSettled,
    ExecutionFinished,
    ExecutionNotPaused,
    InvalidDuration,
    InvalidWorkflow,
)
from durable_monty.models import Call, Execution, Snapshot
from durable_monty.operations.commit import Faulted, commit
from tests.support import advance, claim, run, work

pytestmark = pytest.mark.django_db

CLEANING = """
try:
    await approve("x")
finally:
    await note(path, "cleaned up")
"""


def get(execution_id):
    return Execution.objects.get(pk=execution_id)


def during_a_turn(action):
    """A pool that lets something happen while the turns run."""

    class Pool(ThreadPoolExecutor):
        def map(self, function, steps):
            if steps:
                action()
            return super().map(function, steps)

    return Pool(1)


# --- cancel ---


def test_cancelled_workflow_may_clean_up(service, tmp_path):
    path = tmp_path / "notes"
    execution = run(CLEANING, ["approve", "note"], {"path": str(path)})
    service.cancel_execution(execution.pk, "not needed")
    work()
    execution = get(execution.pk)
    assert (execution.status, execution.error_type, execution.error_message) == (
        "cancelled",
        "Cancelled",
        "not needed",
    )
    assert "in <module>" in execution.error_traceback
    assert path.read_text() == "cleaned up\n"
    assert (execution.grace_until, execution.due_at) == (None, None)
    assert not Snapshot.objects.exists()


def test_except_exception_does_not_stop_a_cancellation(service):
    source = """
try:
    await approve("x")
except Exception:
    out = "swallowed"
"""
    execution = run(source, ["approve"])
    service.cancel_execution(execution.pk)
    work()
    assert get(execution.pk).status == "cancelled"


def test_workflow_may_end_well_all_the_same(service):
    source = """
import asyncio
try:
    await asyncio.gather(approve("x"), asyncio.sleep(9999))
except BaseException as e:
    out = str(e)
out
"""
    execution = run(source, ["approve"])
    service.cancel_execution(execution.pk, "stop")
    work()
    assert service.get_result(execution.pk) == "Cancelled: stop"


def test_error_in_the_clean_up_is_a_failure(service):
    source = "try:\n    await approve(1)\nfinally:\n    1 / 0"
    execution = run(source, ["approve"])
    service.cancel_execution(execution.pk, "stop")
    work()
    execution = get(execution.pk)
    assert (execution.status, execution.error_type) == ("failed", "ZeroDivisionError")


def test_clean_up_has_a_grace(service, move_clock):
    source = "try:\n    await approve(1)\nfinally:\n    await approve(2)"
    execution = run(source, ["approve"])
    service.cancel_execution(execution.pk, "stop", grace=10)
    work()
    assert get(execution.pk).status == "waiting"
    move_clock(11)
    work()
    execution = get(execution.pk)
    assert (execution.status, execution.error_message) == (
        "cancelled",
        "stop (It did not end by itself in time.)",
    )
    assert set(Call.objects.values_list("status", flat=True)) == {"failed", "cancelled"}


def test_execution_that_has_not_begun_is_cancelled_at_once(service):
    execution_id = service.start_execution("1", [])
    service.cancel_execution(execution_id, "typo")
    assert get(execution_id).status == "cancelled"


def test_cancelling_again_changes_nothing(service):
    execution = run("await approve(1)", ["approve"])
    service.cancel_execution(execution.pk, "first")
    before = Execution.objects.values().get()
    service.cancel_execution(execution.pk, "second")
    assert Execution.objects.values().get() == before


def test_calls_made_while_the_request_came_are_cancelled_too(service):
    execution_id = service.start_execution("await approve(1)", ["approve"])
    claimed = claim(execution_id)
    with during_a_turn(lambda: service.cancel_execution(execution_id, "stop")) as threads:
        operations.advance_executions([claimed], using="default", threads=threads)
    call = Call.objects.get()
    assert (call.status, call.error_message) == ("failed", "stop")
    work()
    assert get(execution_id).status == "cancelled"


TWO_STEPS = """
try:
    await approve(1)
    await approve(2)
except BaseException as e:
    out = str(e)
out
"""


@pytest.mark.parametrize("is_claimed", [False, True])
def test_cancellation_while_nothing_is_open_reaches_the_next_call(service, is_claimed, move_clock):
    execution = run(TWO_STEPS, ["approve"])
    service.complete_call(execution.pk, 0, True)
    if is_claimed:
        claim(execution.pk)  # and the worker is gone
    service.cancel_execution(execution.pk, "stop", grace=3600)
    move_clock(61)
    work()
    assert service.get_result(execution.pk) == "Cancelled: stop"
    assert list(Call.objects.values_list("status", flat=True)) == ["failed", "completed"]


def test_cancellation_before_a_first_turn_that_was_lost(service, move_clock):
    execution_id = service.start_execution(TWO_STEPS, ["approve"])
    claim(execution_id)
    service.cancel_execution(execution_id, "stop", grace=3600)
    move_clock(61)
    work()
    assert service.get_result(execution_id) == "Cancelled: stop"


def test_cancellation_is_told_once(service):
    """The clean-up may call functions, however many turns it takes."""
    source = """
try:
    await approve(1)
    await approve(2)
finally:
    await add(1, 1)
    await add(2, 2)
"""
    execution = run(source, ["approve", "add"])
    service.complete_call(execution.pk, 0, True)
    service.cancel_execution(execution.pk, "stop")
    work()
    assert get(execution.pk).status == "cancelled"
    assert list(Call.objects.order_by("call_id").values_list("status", flat=True)) == [
        "completed", "failed", "completed", "completed",
    ]  # fmt: skip


def test_paused_execution_can_be_cancelled(service):
    execution = run("await approve(1)", ["approve"])
    service.pause_execution(execution.pk)
    service.cancel_execution(execution.pk)
    work()
    assert get(execution.pk).status == "cancelled"


def test_running_function_is_told(service, register):
    def slow():
        service.cancel_execution(execution_id, "stop")
        call = current_call()
        call.heartbeat()
        seen.append(call.cancelled())

    seen = []
    register("slow", slow)
    execution_id = service.start_execution("await slow()", ["slow"])
    work()
    assert seen == [True]
    assert get(execution_id).status == "cancelled"


def test_replay_of_a_cancelled_run_is_the_same(service, tmp_path):
    path = tmp_path / "notes"
    execution = run(CLEANING, ["approve", "note"], {"path": str(path)})
    service.cancel_execution(execution.pk, "stop")
    advance(execution.pk)
    Snapshot.objects.all().delete()
    work()
    assert get(execution.pk).status == "cancelled"


# --- terminate ---


def test_terminate_ends_at_once(service, tmp_path):
    path = tmp_path / "notes"
    execution = run(CLEANING, ["approve", "note"], {"path": str(path)})
    service.terminate_execution(execution.pk, "hostile")
    execution = get(execution.pk)
    assert (execution.status, execution.error_message) == ("cancelled", "hostile")
    with pytest.raises(CallSettled, match="already cancelled"):
        service.complete_call(execution.pk, 0, True)
    work()
    assert not path.exists()


def test_turn_that_runs_is_thrown_away(service):
    execution_id = service.start_execution("print('x')\nawait approve(1)", ["approve"])
    claimed = claim(execution_id)
    with during_a_turn(lambda: service.terminate_execution(execution_id)) as threads:
        assert operations.advance_executions([claimed], using="default", threads=threads) == 0
    assert (get(execution_id).log, Call.objects.count()) == ("", 0)


@pytest.mark.parametrize("verb", ["cancel", "terminate", "pause", "resume"])
def test_finished_execution_is_left_alone(service, verb):
    execution = run("1")
    before = Execution.objects.values().get()
    with pytest.raises(ExecutionFinished) as caught:
        getattr(service, f"{verb}_execution")(execution.pk)
    wanted = {"pause": "paused", "resume": "waiting"}.get(verb, "cancelled")
    assert str(caught.value) == (
        f"Execution {execution.pk} is already completed; it cannot become {wanted}."
    )
    assert Execution.objects.values().get() == before


# --- pause ---


def test_paused_execution_runs_no_turn(service):
    execution = run("await add(await approve(1), 1)", ["approve", "add"])
    service.pause_execution(execution.pk, "month end")
    service.complete_call(execution.pk, 0, 41)
    work()
    execution = get(execution.pk)
    assert (execution.status, execution.reason, execution.turn) == ("paused", "month end", 1)
    service.resume_execution(execution.pk)
    work()
    assert service.get_result(execution.pk) == 42
    assert get(execution.pk).reason == ""


def test_pause_before_the_first_turn(service):
    execution_id = service.start_execution("1", [])
    service.pause_execution(execution_id)
    work()
    assert get(execution_id).status == "paused"
    service.resume_execution(execution_id)
    assert get(execution_id).status == "scheduled"
    work()
    assert service.get_result(execution_id) == 1


def test_pause_during_a_turn_waits_for_its_commit(service):
    execution_id = service.start_execution("await approve(1)", ["approve"])
    claimed = claim(execution_id)
    with during_a_turn(lambda: service.pause_execution(execution_id)) as threads:
        assert operations.advance_executions([claimed], using="default", threads=threads) == 1
    execution = get(execution_id)
    assert (execution.status, execution.turn, execution.pause_requested) == ("paused", 1, False)


def test_pause_that_came_too_late_to_matter(service):
    execution_id = service.start_execution("1", [])
    claimed = claim(execution_id)
    with during_a_turn(lambda: service.pause_execution(execution_id)) as threads:
        operations.advance_executions([claimed], using="default", threads=threads)
    assert service.get_result(execution_id) == 1


def test_resume_of_one_whose_pause_was_requested_before(service):
    """The turn failed for the host's reasons, so the request outlived it."""
    execution_id = service.start_execution("await approve(1)", ["approve"])
    claimed = claim(execution_id)
    service.pause_execution(execution_id)
    commit([Faulted(claimed, "the host is out of memory")], using="default")
    service.pause_execution(execution_id)
    assert get(execution_id).status == "paused"
    service.resume_execution(execution_id)
    execution = get(execution_id)
    assert (execution.status, execution.pause_requested) == ("scheduled", False)


def test_pause_keeps_the_reason_of_a_cancellation(service):
    execution = run(
        "try:\n    await approve(1)\nfinally:\n    await add(1, 2)", ["approve", "add"]
    )
    service.cancel_execution(execution.pk, "not needed")
    service.pause_execution(execution.pk, "month end")
    service.resume_execution(execution.pk)
    work()
    execution = get(execution.pk)
    assert (execution.status, execution.error_message) == ("cancelled", "not needed")


def test_resume_takes_a_pause_request_back(service):
    execution_id = service.start_execution("await approve(1)", ["approve"])
    claimed = claim(execution_id)

    def change_mind():
        service.pause_execution(execution_id)
        service.resume_execution(execution_id)

    with during_a_turn(change_mind) as threads:
        operations.advance_executions([claimed], using="default", threads=threads)
    assert get(execution_id).status == "waiting"
    with pytest.raises(ExecutionNotPaused, match="is waiting, not paused: nothing to resume"):
        service.resume_execution(execution_id)


# --- deadline ---


def test_deadline_while_nothing_is_open_reaches_the_next_call(service, move_clock):
    execution = run(TWO_STEPS, ["approve"], deadline=timedelta(hours=1))
    service.complete_call(execution.pk, 0, True)
    move_clock(3601)
    operations.expire_executions(5, using="default")
    work()
    assert service.get_result(execution.pk) == "The deadline of the execution has passed."


def test_deadline_raises_inside_the_workflow(service, move_clock):
    source = """
try:
    await approve(1)
except TimeoutError as e:
    out = str(e)
out
"""
    execution = run(source, ["approve"], deadline=timedelta(hours=1))
    move_clock(3601)
    work()
    assert service.get_result(execution.pk) == "The deadline of the execution has passed."


def test_deadline_that_nobody_catches_fails_the_execution(service, move_clock):
    execution = run("await approve(1)", ["approve"], deadline=timedelta(hours=1))
    move_clock(3601)
    work()
    execution = get(execution.pk)
    assert (execution.status, execution.error_type) == ("failed", "TimeoutError")
    assert execution.deadline is None


def test_workflow_that_ignores_its_deadline_is_failed_after_the_grace(service, move_clock):
    source = "while True:\n    try: await approve(1)\n    except TimeoutError: pass"
    execution = run(source, ["approve"], deadline=timedelta(hours=1))
    move_clock(3601)
    work()
    assert get(execution.pk).status == "waiting"
    move_clock(31)
    work()
    execution = get(execution.pk)
    assert (execution.status, execution.error_message) == (
        "failed",
        "The deadline of the execution has passed, and its grace too.",
    )


def test_deadline_of_an_execution_that_no_worker_began(service, move_clock):
    execution_id = service.start_execution(
        "await approve(1)", ["approve"], deadline=timedelta(hours=1)
    )
    move_clock(3601)
    operations.expire_executions(5, using="default")
    work()
    move_clock(31)
    work()
    assert get(execution_id).status == "failed"


@pytest.mark.parametrize("deadline", [timedelta(0), timedelta(-1), timedelta.max])
def test_deadline_must_lie_ahead_and_come_some_day(service, deadline):
    with pytest.raises(InvalidWorkflow) as caught:
        service.start_execution("1", [], deadline=deadline)
    assert str(caught.value) == (
        f"The deadline must be a positive timedelta of at most 100 years, not {deadline!r}."
    )


@pytest.mark.parametrize("grace", [-1, 1e20, inf, nan])
def test_a_grace_that_cannot_be_is_refused(service, grace):
    execution = run("await approve('x')", ["approve"])
    with pytest.raises(InvalidDuration) as caught:
        service.cancel_execution(execution.pk, grace=grace)
    assert str(caught.value) == (
        f"grace must be from 0 to 3,153,600,000 seconds (100 years), not {grace!r}."
    )
    assert get(execution.pk).cancel_requested_at is None
