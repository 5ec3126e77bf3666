import threading

import pytest
from asgiref.sync import async_to_sync
from django.db import connection

from durable_monty import OrchestratorService, codec
from durable_monty.engine.interpreters import Interpreters
from durable_monty.exceptions import (
    CallNotWaiting,
    ExecutionNotFound,
    InvalidWorkflow,
    KeyConflict,
    NothingToRetry,
    ReplayMismatch,
    TurnNotForkable,
    UnknownFunction,
)
from durable_monty.models import Call, Execution
from durable_monty.operations import run as run_module
from tests.doctor.reports import doctor, hire
from tests.support import SEVEN_CALLS, advance, claim, run, seven_calls_output, work

pytestmark = pytest.mark.django_db

SUM = """
import random
from asyncio import gather

a, b = await gather(approve("first"), add(1, 2))
print("got", a, b)
c = await add(b, random.randint(1, 1000))
print("then", c)
d = await approve(str(c))
[a, b, c, d]
"""


def journal(execution_id):
    columns = ("call_id", "turn", "function", "args", "status", "result", "delivered_turn")
    calls = Call.objects.filter(execution=execution_id).order_by("call_id")
    return [tuple(row) for row in calls.values_list(*columns)]


def get(execution_id):
    return Execution.objects.select_related("program").get(pk=execution_id)


@pytest.fixture
def summed(service):
    """Runs SUM to its end, with the answers True and False: turns 1 to 5."""
    execution = run(SUM, ["approve", "add"], name="sum")
    service.complete_call(execution.pk, 0, True)
    work()
    service.complete_call(execution.pk, 3, False)
    work()
    return get(execution.pk)


@pytest.mark.parametrize("turn", range(1, 5))
def test_a_fork_from_any_turn_comes_to_the_same_end(service, summed, turn):
    fork = service.fork_execution(summed.pk, turn)

    begun = get(fork)
    assert (begun.status, begun.turn, begun.name) == ("waiting", turn, "sum")
    assert (begun.forked_from_id, begun.forked_turn) == (summed.pk, turn)
    assert begun.program == summed.program
    assert begun.key is None
    upto = [row for row in journal(summed.pk) if row[1] <= turn]
    assert [row[:4] for row in journal(fork)] == [row[:4] for row in upto]
    assert summed.log.startswith(begun.log)
    hire()
    report = doctor()
    assert report.code == 0, report.output
    work()
    if turn < 4:  # what was asked later is asked again
        service.complete_call(fork, 3, False)
        work()

    forked = get(fork)
    assert (forked.status, forked.output, forked.log) == ("completed", summed.output, summed.log)
    assert get(summed.pk).output == summed.output


def test_the_fork_of_a_running_execution_waits_for_the_same(service):
    execution = run(SUM, ["approve", "add"])
    assert execution.turn == 2

    fork = service.fork_execution(execution.pk, execution.turn)
    work()

    assert journal(fork) == journal(execution.pk)
    assert get(fork).position_start == execution.position_start
    for each in (execution.pk, fork):
        service.complete_call(each, 0, True)
    work()
    assert journal(fork) == journal(execution.pk)


def test_another_answer(service, summed):
    fork = service.fork_execution(summed.pk, 1, answers={0: False, 1: 10})
    work()

    # The answer to call 2 was not in the journal of turn 1: it was asked again.
    first, second, third = codec.decode(summed.output)[:3]
    assert (first, second) == (True, 3)
    service.complete_call(fork, 3, True)
    work()
    assert service.get_result(fork) == [False, 10, 10 + third - 3, True]
    assert Call.objects.get(execution=summed.pk, call_id=0).result == "true"


def test_an_error_as_the_answer(service, summed):
    fork = service.fork_execution(summed.pk, 1, answers={1: ValueError("no")})
    work()

    assert (get(fork).error_type, get(fork).error_message) == ("ValueError", "no")


def test_a_call_is_asked_again(service, summed):
    fork = service.fork_execution(summed.pk, 4, ask_again=[3])
    work()

    assert service.get_pending_calls(fork) == [
        {
            "call_id": 3,
            "function_name": "approve",
            "args": [str(codec.decode(summed.output)[2])],
            "kwargs": {},
        }
    ]
    service.complete_call(fork, 3, "later")
    work()
    assert service.get_result(fork) == [*codec.decode(summed.output)[:3], "later"]


def test_other_source_that_did_the_same_so_far(service, summed):
    code = "# A comment moves all calls.\n" + SUM.replace("[a, b, c, d]", "double(d)").replace(
        "double", "await double"
    )
    fork = service.fork_execution(
        summed.pk, 4, code=code, external_functions=["approve", "add", "double"], name="doubled"
    )
    call = Call.objects.get(execution=fork, call_id=3)
    assert code.encode()[call.position_start : call.position_end] == b"approve(str(c))"
    work()

    assert (get(fork).output, get(fork).name) == ("0", "doubled")


@pytest.mark.usefixtures("unchecked")
def test_other_source_that_does_something_else_is_refused(service, summed):
    with pytest.raises(ReplayMismatch) as raised:
        service.fork_execution(summed.pk, 2, code=SUM.replace("add(1, 2)", "add(1, 3)"))

    assert str(raised.value) == (
        "Replay differs from the journal at turn 1, call 1: recorded add [1,2] {}, replayed "
        "add [1,3] {}."
    )
    with pytest.raises(ReplayMismatch) as raised:
        service.fork_execution(summed.pk, 2, code="1 +")
    assert "replayed SyntaxError: " in str(raised.value)
    assert Execution.objects.get() == summed


def test_turn_that_is_being_run_is_not_forked(service, summed):
    execution = run(SUM, ["approve", "add"])
    service.complete_call(execution.pk, 0, True)
    claim(execution.pk)

    with pytest.raises(TurnNotForkable, match="a worker is busy with it, try again in a moment"):
        service.fork_execution(execution.pk, execution.turn)
    assert service.fork_execution(execution.pk, 0)


def test_from_turn_0_it_starts_again(service, summed):
    fork = service.restart_execution(summed.pk)

    begun = get(fork)
    assert (begun.status, begun.turn, begun.inputs) == ("scheduled", 0, summed.inputs)
    assert (begun.forked_from_id, begun.forked_turn) == (summed.pk, 0)
    assert begun.seed != summed.seed
    work()
    assert service.get_pending_calls(fork)[0]["function_name"] == "approve"


def test_turns_after_a_load_are_replayed_so(service, monkeypatch):
    # As in another process, which has no live interpreter.
    monkeypatch.setattr(Interpreters, "take", lambda self, execution_id, turn: None)
    monkeypatch.setattr(run_module, "_EVERY", 1)
    execution = run(SEVEN_CALLS, ["add", "double"], {"x": 2})
    assert Call.objects.filter(execution=execution, after_load=True).exists()

    fork = service.fork_execution(execution.pk, execution.turn - 1)
    work()

    assert service.get_result(fork) == seven_calls_output(2)


def test_a_sleep_ends_when_it_would_have(service, move_clock):
    execution = run("import asyncio\nawait asyncio.sleep(60)\n'awake'")
    slept = Call.objects.get()
    service.terminate_execution(execution.pk)

    fork = service.fork_execution(execution.pk, 1)
    work()

    assert Call.objects.get(execution=fork).due_at == slept.due_at
    move_clock(61)
    work()
    assert service.get_result(fork) == "awake"


def test_what_asked_the_origin_to_end_is_not_taken_over(service):
    execution = run("await approve('it')", ["approve"])
    service.cancel_execution(execution.pk, "not needed")
    work()
    assert get(execution.pk).status == "cancelled"

    fork = service.fork_execution(execution.pk, 1)
    work()

    assert len(service.get_pending_calls(fork)) == 1


def test_functions_keep_their_time_outs(service, register, move_clock):
    register("slow", lambda: None, executor="elsewhere", schedule_to_close=30)
    execution_id = service.start_execution("await slow()", ["slow"])
    advance(execution_id)
    move_clock(20)

    fork = service.fork_execution(execution_id, 1)

    old, new = Call.objects.order_by("pk")
    assert (new.close_by - new.created_at).total_seconds() == 30
    assert new.deadline_at == new.close_by > old.close_by
    assert str(new.execution_id) == fork


@pytest.mark.parametrize(
    ("turn", "why"),
    [
        (-1, "it has run 5 turns"),
        (6, "it has run 5 turns"),
        (5, "it ended in that turn"),
    ],
)
def test_turns_that_cannot_be_forked(service, summed, turn, why):
    with pytest.raises(TurnNotForkable) as raised:
        service.fork_execution(summed.pk, turn)

    assert str(raised.value) == (
        f"Execution {summed.pk} cannot be forked after turn {turn}: {why}. Nothing was changed."
    )


def test_the_turn_in_which_it_failed(service):
    execution = run("await add(1, 2)\n1 / 0", ["add"])
    assert execution.status == "failed"

    with pytest.raises(TurnNotForkable, match="after turn 2: it ended in that turn"):
        service.fork_execution(execution.pk, 2)
    assert Execution.objects.count() == 1


@pytest.mark.parametrize("call_id", [1, 99])
def test_only_open_calls_can_be_answered_otherwise(service, summed, call_id):
    with pytest.raises(TurnNotForkable) as raised:
        service.fork_execution(summed.pk, 2, answers={call_id: 1})

    assert f"it has no open call {call_id} there to be answered otherwise" in str(raised.value)


def test_what_cannot_be_forked_at_all(service, summed):
    with pytest.raises(ExecutionNotFound):
        service.fork_execution("0" * 32, 1)
    with pytest.raises(UnknownFunction):
        service.fork_execution(summed.pk, 1, external_functions=["nowhere"])
    with pytest.raises(InvalidWorkflow, match="The workflow source is empty"):
        service.fork_execution(summed.pk, 1, code=" ")
    with pytest.raises(InvalidWorkflow, match="The name must be printable"):
        service.fork_execution(summed.pk, 1, name="a\nb")
    with_input = run("await approve(add)", ["approve"], {"add": 1})
    with pytest.raises(InvalidWorkflow, match="'add' is both an input and a function"):
        service.fork_execution(with_input.pk, 1, external_functions=["approve", "add"])


def test_the_same_key_forks_once(service, summed):
    first = service.fork_execution(summed.pk, 1, key="once")

    assert service.fork_execution(summed.pk, 1, key="once") == first
    assert Execution.objects.count() == 2
    with pytest.raises(KeyConflict) as raised:
        service.fork_execution(summed.pk, 2, key="once")
    assert str(raised.value) == (
        f"The key 'once' already belongs to execution {first}, which differs in execution or "
        "turn. Use another key, or start it with the same execution or turn."
    )


@pytest.mark.parametrize(
    ("edits", "differing"),
    [
        ({"answers": {0: True}}, "answers"),
        ({"answers": {0: False, 1: 3}}, "answers"),
        ({"answers": {0: ValueError("no")}}, "answers"),
        ({"ask_again": [0]}, "answers"),
        ({}, "answers"),
        ({"name": "other", "answers": {0: False}}, "name"),
        ({"code": SUM + "1", "answers": {0: False}}, "code"),
        ({"external_functions": ["approve", "add", "echo"], "answers": {0: False}}, "functions"),
    ],
)
def test_the_same_key_with_other_edits(service, summed, edits, differing):
    first = service.fork_execution(summed.pk, 1, answers={0: False}, key="once")
    work()
    again = {"code": SUM + "# a comment", "answers": {0: False}, "name": "sum", "key": "once"}
    assert service.fork_execution(summed.pk, 1, **again) == first

    with pytest.raises(KeyConflict) as raised:
        service.fork_execution(summed.pk, 1, **edits, key="once")
    assert raised.value.differing == (differing,)
    options = {**edits, "key": "once", "on_conflict": "return"}
    assert service.fork_execution(summed.pk, 1, **options) == first


def test_the_same_key_asks_again_once(service, summed):
    first = service.fork_execution(summed.pk, 1, ask_again=[0, 1], key="once")
    work()
    service.complete_call(first, 0, False)
    work()

    assert service.fork_execution(summed.pk, 1, ask_again=[0, 1], key="once") == first
    with pytest.raises(KeyConflict):
        service.restart_execution(summed.pk, key="once")
    assert service.restart_execution(summed.pk, key="once", on_conflict="return") == first


def test_a_fork_outlives_its_origin(service, summed):
    fork = service.fork_execution(summed.pk, 4)
    summed.delete()

    assert get(fork).forked_from_id is None
    work()
    assert get(fork).status == "completed"


@pytest.mark.django_db(transaction=True)
def test_two_forks_with_one_key_make_one():
    execution = run("await approve('it')", ["approve"])
    barrier = threading.Barrier(4)
    ids, errors = [], []

    def fork():
        try:
            barrier.wait(10)
            ids.append(OrchestratorService().fork_execution(execution.pk, 1, key="once"))
        except Exception as exc:
            errors.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=fork) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert len(ids) == 4
    assert len(set(ids)) == 1
    assert Execution.objects.count() == 2
    assert Call.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_async_twins(service):
    async_to_sync(drive)(service)


async def drive(service):
    execution_id = await service.astart_execution("await approve(1)", ["approve"])
    await service.aprocess_execution(execution_id)
    fork = await service.afork_execution(execution_id, 1, answers={0: "yes"})
    assert await service.aprocess_execution(fork) == "completed"
    again = await service.arestart_execution(fork)
    assert (await service.apoll(again))["status"] == "scheduled"
    with pytest.raises(NothingToRetry):
        await service.aretry_execution(execution_id)
    with pytest.raises(CallNotWaiting):
        await service.aretry_call(execution_id, 0)
