"""Dataclasses and named tuples are records in a workflow, in every run of it."""

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import pytest

from durable_monty.engine.interpreters import interpreters
from durable_monty.exceptions import KeyConflict
from durable_monty.models import Call, Execution, Snapshot
from tests.support import run, work

pytestmark = pytest.mark.django_db


@dataclass
class Line:
    sku: str
    quantity: int


@dataclass
class Order:
    number: int
    total: Decimal
    lines: list[Line]


class Range(NamedTuple):
    low: int
    high: int


def forget(*, snapshots=True):
    """Closes the live sandbox, so that the next turn loads its snapshot or replays the journal."""
    interpreters.clear()
    if snapshots:
        Snapshot.objects.all().delete()


ORDER = Order(7, Decimal("9.90"), [Line("a", 1), Line("b", 2)])


@pytest.fixture
def load_order(register):
    register("load_order", lambda: ORDER)


@pytest.fixture
def taken(register):
    """What the function `take` was given."""
    found = []
    register("take", found.append)
    return found


@pytest.mark.parametrize(
    ("expression", "seen"),
    [
        ("order.total", Decimal("9.90")),
        ("[line.sku for line in order.lines]", ["a", "b"]),
        ("f'{order.number}: {order.total}'", "7: 9.90"),
        ("repr(order.lines[0])", "Line(sku='a', quantity=1)"),
        ("hasattr(order, 'price')", False),
        ("order[0]", 7),
        ("[order == given, order != given]", [True, False]),
        ("{order.lines[0]: 'first'}[order.lines[0]]", "first"),
        ("sorted(order.lines)[0].sku", "a"),
        ("max(order.lines).quantity", 2),
    ],
)
def test_a_workflow_reads_the_fields(service, load_order, expression, seen):
    code = f"order = await load_order()\n{expression}"

    execution = run(code, ["load_order"], {"given": ORDER})

    assert service.get_result(execution.pk) == seen


def test_a_workflow_unpacks_a_record(service, load_order, register):
    register("limits", lambda: {"a": Range(1, 5), "b": [Range(2, 3)]})
    code = """
number, total, lines = await load_order()
limits = await limits_of()
low, high = limits["a"]
match limits["b"][0]:
    case (start, end):
        seen = [number, len(lines), low, high, start, end, limits["a"].high]
seen
""".replace("limits_of", "limits")
    execution = run(code, ["load_order", "limits"])

    assert service.get_result(execution.pk) == [7, 2, 1, 5, 2, 3, 5]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("order.price", "AttributeError: 'Order' object has no attribute 'price'"),
        ("order['total']", "TypeError: tuple indices must be integers or slices, not str"),
        (
            "order.total = 0",
            "AttributeError: 'Order' object has no attribute 'total' and no __dict__ for setting "
            "new attributes",
        ),
    ],
)
def test_what_a_record_has_not(service, load_order, statement, error):
    execution = run(f"order = await load_order()\n{statement}", ["load_order"])

    assert service.poll(execution.pk)["error"] == error


RETURNING = """
order = await load_order()
first = order.lines[0]
answer = await approve(order)
await take(order)
[order.total, first, answer, order]
"""


@pytest.mark.parametrize("is_replayed", [False, True])
def test_a_record_goes_through_a_load_and_a_replay(service, load_order, taken, is_replayed):
    execution = run(RETURNING, ["load_order", "approve", "take"])
    if is_replayed:
        forget()

    service.complete_call(execution.pk, 1, ORDER)
    work()

    [total, first, answer, order] = service.get_result(execution.pk)
    assert (total, first.sku, answer.lines[1].quantity) == (Decimal("9.90"), "a", 2)
    assert (order, taken) == (answer, [answer])
    assert repr(order) == (
        "Order(number=7, total=Decimal('9.90'), "
        "lines=[Line(sku='a', quantity=1), Line(sku='b', quantity=2)])"
    )
    assert service.get_pending_calls(execution.pk) == []


def test_a_fork_has_the_same_records(service, load_order, taken):
    execution = run(RETURNING, ["load_order", "approve", "take"])

    fork = service.fork_execution(execution.pk, 2)
    service.complete_call(fork, 1, True)
    work()

    assert service.get_result(fork)[0] == Decimal("9.90")
    assert taken[0].lines[0].sku == "a"


def test_what_is_stored_is_read_by_people_as_an_object(service, load_order):
    call = run("await load_order()", ["load_order"]).calls.get()

    assert call.result == (
        '{"$named":["Order",{"number":7,"total":{"$decimal":"9.90"},"lines":['
        '{"$named":["Line",{"sku":"a","quantity":1}]},'
        '{"$named":["Line",{"sku":"b","quantity":2}]}]}]}'
    )


def test_a_workflow_makes_records_itself(service, taken):
    code = """
from collections import namedtuple
from dataclasses import dataclass
Pair = namedtuple("Pair", "left right")
@dataclass
class Point:
    x: int
class Basket:
    def __init__(self):
        self.items = [Point(1), Pair(Point(2), 3)]
await take(Pair(1, [Point(2)]))
await take(Point(3))
await take(Basket())
"""
    run(code, ["take"])

    [pair, point, basket] = taken
    assert (pair.left, pair.right[0].x, point.x) == (1, 2, 3)
    assert basket["items"][1].left.x == 2


# --- rows from before records were named tuples ---

OLD = """
from collections import namedtuple
from dataclasses import dataclass
Pair = namedtuple("Pair", "left right")
@dataclass
class Point:
    x: int
order = await approve("it")
await take(Pair(order["total"], {Pair(1, 2)}))
await take(point=Point(3))
await approve(order)
[order["lines"][0]["sku"], given["total"]]
"""


@pytest.fixture
def old_execution(service, register):
    """An execution whose values entered as they were written when a dataclass was a dict."""
    register("take", lambda point: None)
    execution = run(OLD, ["approve", "take"], {"given": {}})
    service.complete_call(execution.pk, 0, {})
    Call.objects.filter(call_id=0).update(
        result='{"$record":["Order",{"total":5,"lines":[{"$record":["Line",{"sku":"a"}]}]}]}'
    )
    Execution.objects.update(inputs='{"given":{"$record":["Order",{"total":5}]}}')
    forget()
    work()
    return execution


def test_an_execution_from_before_goes_on_as_it_began(service, old_execution):
    calls = {call.call_id: call for call in old_execution.calls.all()}
    assert calls[1].args == (
        '[{"$named":["Pair",{"left":5,"right":{"$set":['
        '{"$named":["Pair",{"left":1,"right":2}]}]}}]}]'
    )
    assert calls[2].kwargs == '{"point":{"$named":["Point",{"x":3}]}}'
    # The forms in which the version before wrote what leaves the sandbox.
    Call.objects.filter(call_id=1).update(args='[{"$tuple":[5,{"$set":[{"$tuple":[1,2]}]}]}]')
    Call.objects.filter(call_id=2).update(kwargs='{"point":{"$record":["Point",{"x":3}]}}')
    forget()

    service.complete_call(old_execution.pk, 3, True)
    work()

    assert service.get_result(old_execution.pk) == ["a", 5]


def test_another_argument_is_still_another_call(service, old_execution):
    Call.objects.filter(call_id=2).update(kwargs='{"point":{"$record":["Point",{"x":4}]}}')
    forget()

    service.complete_call(old_execution.pk, 3, True)
    work()

    state = service.poll(old_execution.pk)
    assert (state["status"], state["error"]) == (
        "paused",
        "ReplayMismatch: Replay differs from the journal at turn 3, call 2: recorded take [] "
        "{'point': {'x': 4}}, replayed take [] {'point': Point(x=3)}.",
    )


def test_a_key_still_means_the_same_inputs(service):
    code = "given"
    first = service.start_execution(code, [], {"given": ORDER.lines[0]}, key="one")
    Execution.objects.update(inputs='{"given":{"$record":["Line",{"sku":"a","quantity":1}]}}')

    assert service.start_execution(code, [], {"given": ORDER.lines[0]}, key="one") == first
    with pytest.raises(KeyConflict):
        service.start_execution(code, [], {"given": ORDER.lines[1]}, key="one")
