"""A call that nobody awaited fails its execution, whatever the worker knows of it."""

import pytest

from durable_monty.engine.interpreters import Interpreters
from durable_monty.exceptions import InvalidWorkflow
from durable_monty.models import Call, Execution
from tests.documents import README
from tests.support import run, work

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["live", "loaded"])
def elsewhere(request, monkeypatch):
    """Whether a turn is run where the last one was, or in a process that loads a snapshot."""
    if request.param == "loaded":
        monkeypatch.setattr(Interpreters, "take", lambda self, execution_id, turn: None)


LEFT = """
from asyncio import gather

asked, number = approve(1), 0
try:
    await gather(approve(2))
    number = await add(1, 2)
    raise ValueError
except ValueError:
    pass
if number > 3:
    await asked
number
"""


def test_call_of_an_earlier_turn(service, elsewhere):
    execution = run(LEFT, ["add", "approve"])
    service.complete_call(execution.pk, 1, True)
    work()
    execution.refresh_from_db()
    assert (execution.status, execution.error_message) == (
        "failed",
        "approve(...), called on line 4, was never awaited. Write: await approve(...)",
    )
    statuses = Call.objects.filter(execution=execution).order_by("call_id")
    assert list(statuses.values_list("status", flat=True)) == [
        "cancelled",
        "completed",
        "completed",
    ]


def test_call_that_a_gather_gave_up(service, elsewhere):
    source = LEFT.replace("gather(approve(2))", "gather(approve(2), asked)")
    execution = run(source, ["add", "approve"])
    service.fail_call(execution.pk, 1, ValueError("no"))
    work()
    assert service.get_result(execution.pk) == 0


def test_refund_of_the_readme_without_its_await_pays_nothing(register, unchecked):
    paid = []
    register("load_order", lambda number: {"number": number, "total": 80})
    register("count_complaints", lambda number: 2)
    register("approve_refund", lambda number, total: False, executor="manual")
    register("pay_back", lambda number, total: paid.append(total))
    register("ask_for_feedback", lambda number: None)
    source = README.read_text().partition("@workflow\n")[2].partition("```")[0]
    mistaken = source.replace("await approve_refund", "approve_refund") + "await refund(1047)"
    functions = ["load_order", "count_complaints", "approve_refund", "pay_back"]
    code = f"from asyncio import gather, sleep\n{mistaken}"
    execution = run(code, [*functions, "ask_for_feedback"])
    assert (execution.status, execution.error_type, execution.error_message, paid) == (
        "failed",
        "RuntimeError",
        "approve_refund(...), called on line 7, was never awaited. "
        "Write: await approve_refund(...)",
        [],
    )
    assert not Call.objects.exists()


def test_fork_to_a_source_that_forgets_an_await_is_refused(service, unchecked):
    execution = run("await approve(1)\nawait approve(2)", ["approve"])
    with pytest.raises(InvalidWorkflow) as refused:
        service.fork_execution(execution.pk, 1, code="await approve(1)\napprove(2)\n3")
    assert str(refused.value) == (
        "approve(...), called on line 2, was never awaited. Write: await approve(...)"
    )
    assert Execution.objects.count() == 1


def test_texts_that_look_like_objects_of_the_sandbox(service):
    texts = ["<gather(1)>", "<coroutine object x>", "<function 'x' at 0x1>"]
    texts.append(f"<coroutine external_future({'1' * 4301})>")
    for text in texts:
        execution = run(
            "[await echo(text), {text: await approve(text)}]", ["echo", "approve"], {"text": text}
        )
        service.complete_call(execution.pk, 1, text)
        work()
        assert service.get_result(execution.pk) == [text, {text: text}]
