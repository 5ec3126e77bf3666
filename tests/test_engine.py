"""Workflows from start to end, through the real operations, in one process."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from durable_monty import OrchestratorService, codec, operations
from durable_monty.models import Call, Execution, Snapshot
from durable_monty.sandbox import Interpreter
from tests.app.models import Call as OwnCall
from tests.support import SEVEN_CALLS, advance, claim, run, seven_calls_output, work

pytestmark = pytest.mark.django_db


def test_seven_calls(service):
    execution = run(SEVEN_CALLS, ["add", "double"], {"x": 5})
    assert execution.status == "completed"
    assert service.get_result(execution.pk) == seven_calls_output(5)
    assert [call.delivered_turn for call in execution.calls.order_by("call_id")] == [
        2, 2, 2, 3, 3, 3, 4,
    ]  # fmt: skip
    assert execution.turn == 4
    assert (execution.due_at, execution.claim) == (None, None)
    assert execution.started_at <= execution.finished_at
    assert not Snapshot.objects.exists()
    assert not OwnCall.objects.exists()


def test_answers_are_delivered_as_they_come(service):
    source = """
from asyncio import gather
async def branch(what):
    if await approve(what):
        return await echo(what)
await gather(branch("a"), branch("b"))
"""
    execution = run(source, ["approve", "echo"])
    service.complete_call(execution.pk, 1, True)
    work()
    # b went on alone, while a still waits.
    assert Call.objects.get(execution=execution, call_id=2).result == '"b"'
    assert service.poll(execution.pk)["status"] == "waiting"
    service.complete_call(execution.pk, 0, False)
    work()
    assert service.get_result(execution.pk) == [None, "b"]


def test_values_keep_their_types(service):
    value = {"t": (1, 2), 3: {4}, "when": datetime(2026, 1, 2, tzinfo=UTC), "b": b"x"}
    execution = run("await echo(value)", ["echo"], {"value": value})
    assert service.get_result(execution.pk) == value


def test_failing_function_raises_inside_the_workflow(service):
    source = """
out = []
for kind in ["ValueError", "KeyError", "OutOfStock", "SystemExit"]:
    try:
        await fail(kind, "oh")
    except Exception as e:
        out.append(repr(e))
out
"""
    execution = run(source, ["fail"])
    assert service.get_result(execution.pk) == [
        "ValueError('oh')",
        "KeyError('oh')",
        "Exception('oh')",
        "RuntimeError('oh')",
    ]
    call = execution.calls.get(call_id=2)
    assert (call.status, call.error_type, call.error_message) == ("failed", "OutOfStock", "oh")
    assert "in fail" in call.error_traceback


def test_uncaught_failure_fails_the_execution_with_both_tracebacks(service):
    execution = run("x = 1\nawait fail('ValueError', 'oh')", ["fail"])
    assert (execution.status, execution.error_type) == ("failed", "ValueError")
    assert execution.error_message == "oh"
    assert 'File "workflow", line 2' in execution.error_traceback
    assert "tests/app/workflows.py" in execution.calls.get().error_traceback
    assert service.poll(execution.pk)["error"] == "ValueError: oh"


def test_result_that_cannot_be_stored_fails_its_await():
    execution = run("await unstorable()", ["unstorable"])
    assert execution.error_type == "TypeError"
    assert execution.error_message.startswith(
        "unstorable() returned what cannot be stored: result['rows'][1]: "
    )


def test_async_function_runs(service):
    assert service.get_result(run("await async_double(4)", ["async_double"]).pk) == 8


@pytest.mark.usefixtures("unchecked")
def test_syntax_error_fails_the_execution():
    execution = run("def f(:\n  1")
    assert (execution.status, execution.error_type) == ("failed", "SyntaxError")
    assert 'File "workflow", line 1' in execution.error_traceback


def test_printed_output_is_kept_in_order(service):
    execution = run("print('one')\nawait echo(1)\nprint('two' + chr(0), chr(233))", ["echo"])
    assert execution.log == "one\ntwo\ufffd é\n"


def test_sleeps_are_timers_that_nobody_holds(service, move_clock):
    source = """
import asyncio
await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(1800))
"""
    execution = run(source)
    first, second = execution.calls.order_by("call_id")
    assert first.due_at - first.created_at == timedelta(hours=1)
    assert execution.due_at is None
    move_clock(1801)
    work()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, second.status) == ("pending", "completed")
    move_clock(1801)
    work()
    assert service.poll(execution.pk)["status"] == "completed"


def test_clock_is_the_databases_and_never_goes_back(service, move_clock):
    source = """
from datetime import datetime
first = datetime.now()
await approve("x")
[first, datetime.now()]
"""
    execution = run(source, ["approve"])
    move_clock(-7200)
    service.complete_call(execution.pk, 1, True)
    work()
    first, second = service.get_result(execution.pk)
    assert first == second
    assert abs(first - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=5)


def test_ending_withdraws_open_calls(service):
    source = """
from asyncio import gather
try:
    await gather(approve("never"), fail("ValueError", "oh"))
except ValueError:
    pass
"""
    execution = run(source, ["approve", "fail"])
    assert execution.status == "completed"
    call = execution.calls.get(call_id=0)
    assert (call.status, call.finished_at) == ("cancelled", execution.finished_at)


def test_calls_of_a_gather_that_raises_at_once_are_cancelled():
    source = """
import asyncio
async def bad():
    raise ValueError("oh")
try:
    await asyncio.gather(bad(), echo(1), approve(2), asyncio.sleep(3))
except ValueError as e:
    out = str(e)
out
"""
    execution = run(source, ["echo", "approve"])
    assert (execution.status, execution.output) == ("completed", '"oh"')
    calls = execution.calls.values_list("status", "attempt")
    assert list(calls) == [("cancelled", 0)] * 3


@pytest.mark.usefixtures("unchecked")
def test_unawaited_call_is_named():
    execution = run("x = 1\necho(x)\nx", ["echo"])
    assert execution.error_message == (
        "echo(...), called on line 2, was never awaited. Write: await echo(...)"
    )
    assert not execution.calls.exists()  # nothing of it was run


@pytest.mark.django_db(transaction=True)
def test_worker_tries_a_turn_that_fails_by_a_bug_of_ours_five_times(
    service, monkeypatch, move_clock, log
):
    def bug(self):
        raise LookupError("a bug of ours")

    execution_id = service.start_execution("await add(1, 2)", ["add"])
    with monkeypatch.context() as patched:
        patched.setattr(Interpreter, "begin", bug)
        for _ in range(7):
            work()
            move_clock(61)
    execution = Execution.objects.get(pk=execution_id)
    assert (execution.status, execution.error_type, execution.error_message) == (
        "paused",
        "HostFault",
        "This turn was given up after 5 tries: LookupError: a bug of ours",
    )
    paused = [record for record in log.records if "is paused" in record.message]
    assert [(record.levelname, record.execution_id) for record in paused] == [
        ("ERROR", execution_id)
    ]
    service.resume_execution(execution_id)
    work()
    assert service.get_result(execution_id) == 3


def test_function_that_no_worker_has_waits(service, monkeypatch):
    from durable_monty.functions import FUNCTION_REGISTRY

    execution_id = service.start_execution("await double(4)", ["double"])
    entry = FUNCTION_REGISTRY["double"]
    monkeypatch.delitem(FUNCTION_REGISTRY._functions, "double")
    work()
    call = Call.objects.get()
    assert (call.status, call.attempt) == ("pending", 0)
    monkeypatch.setitem(FUNCTION_REGISTRY._functions, "double", entry)
    work()
    assert service.get_result(execution_id) == 8


def test_drive_by_hand(service):
    execution_id = service.start_execution(
        "await add(await approve('x'), b=2)", ["approve", "add"]
    )
    assert service.process_execution(execution_id) == "waiting"
    assert service.get_pending_calls(execution_id) == [
        {"call_id": 0, "function_name": "approve", "args": ["x"], "kwargs": {}}
    ]
    service.complete_call(execution_id, 0, 40)
    assert service.process_execution(execution_id) == "waiting"
    assert service.get_pending_calls(execution_id) == [
        {"call_id": 1, "function_name": "add", "args": [40], "kwargs": {"b": 2}}
    ]
    service.complete_call(execution_id, 1, 42)
    assert service.process_execution(execution_id) == "completed"
    assert service.process_execution(execution_id) == "completed"
    assert service.get_result(execution_id) == 42


def test_answer_that_lands_during_a_turn_is_not_lost(service):
    """The wake-up counter is read with the claim; a turn parks only if it is unchanged."""
    execution_id = service.start_execution(
        "from asyncio import gather\nawait gather(approve('a'), approve('b'))", ["approve"]
    )
    advance(execution_id)
    service.complete_call(execution_id, 0, "A")
    claimed = claim(execution_id)

    class LateAnswer(ThreadPoolExecutor):
        """The turn has read its answers; now another comes, while the claim is held."""

        def map(self, function, steps):
            if steps:
                service.complete_call(execution_id, 1, "B")
            return super().map(function, steps)

    with LateAnswer(1) as threads:
        assert operations.advance_executions([claimed], using="default", threads=threads) == 1
    execution = Execution.objects.get(pk=execution_id)
    assert execution.due_at is not None
    work()
    assert service.get_result(execution_id) == ["A", "B"]


def test_claim_that_is_held_is_left_alone(service, move_clock):
    execution_id = service.start_execution("1", [])
    claim(execution_id)
    assert operations.claim_executions(5, using="default") == []
    assert service.process_execution(execution_id) == "scheduled"
    move_clock(61)
    assert [execution.pk.hex for execution in operations.claim_executions(5, using="default")] == [
        execution_id.replace("-", "")
    ]


def test_two_claims_never_commit_the_same_turn(service, move_clock):
    execution_id = service.start_execution("print('x')\nawait approve(1)", ["approve"])
    first = claim(execution_id)
    move_clock(61)
    second = claim(execution_id)
    with ThreadPoolExecutor(1) as threads:
        assert operations.advance_executions([second], using="default", threads=threads) == 1
        assert operations.advance_executions([first], using="default", threads=threads) == 0
    execution = Execution.objects.get(pk=execution_id)
    assert (execution.turn, execution.log, execution.call_count) == (1, "x\n", 1)
    assert Call.objects.count() == 1


def test_call_count_is_limited_over_the_whole_execution(service, durable_settings):
    durable_settings(MAX_CALLS=5)
    execution = run("for i in range(9): await echo(i)", ["echo"])
    assert execution.error_message == (
        "The workflow made more calls than DURABLE_MONTY['MAX_CALLS'] allows."
    )


def test_log_is_limited_over_the_whole_execution(service, durable_settings):
    durable_settings(MAX_LOG_BYTES=20_000)
    execution = run("for i in range(9):\n    await echo(i)\n    print('x' * 4000)", ["echo"])
    assert "MAX_LOG_BYTES" in execution.error_message
    assert len(execution.log) <= 20_000


def test_broken_limit_fails_after_a_second_try(service, durable_settings, log):
    durable_settings(MAX_TURN_SECONDS=0.2)
    execution = run("await echo(1)\nwhile True: pass", ["echo"])
    assert (execution.status, execution.error_type) == ("failed", "TimeoutError")
    assert execution.error_message.startswith("turn time limit exceeded")
    (record,) = [record for record in log.records if record.levelname == "WARNING"]
    assert record.message.startswith(
        f"turn is run again from the journal: execution {execution.pk} (unnamed), turn 2: "
        "turn time limit exceeded: "
    )


def test_completed_by_hand_keeps_who_and_why(service, django_user_model):
    user = django_user_model.objects.create_user("ann")
    execution = run("await approve(1)", ["approve"])
    service.complete_call(execution.pk, 0, True, user=user, reason="looks good")
    call = execution.calls.get()
    assert (call.completed_by, call.reason, call.result) == (user, "looks good", "true")
    assert codec.decode(call.result) is True
    work()
    assert OrchestratorService().get_result(execution.pk) is True
    user.delete()
    call.refresh_from_db()
    assert (call.completed_by_name, call.reason) == ("ann", "looks good")
