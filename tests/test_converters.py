"""Functions get instances of the classes of their annotations."""

import asyncio
import enum
import re
import typing
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Literal, Optional, Union
from unittest import mock
from zoneinfo import ZoneInfo

import pydantic
import pydantic_monty
import pytest
from hypothesis import given, settings, strategies as st

from durable_monty import Retry, codec
from durable_monty.converters import Conversion
from durable_monty.exceptions import WrongArgument, WrongResult
from tests.annotated import (
    Batch,
    CardPayment,
    Colour,
    Line,
    Measured,
    Node,
    Order,
    Own,
    Page,
    Partly,
    Payment,
    Positive,
    Range,
    Size,
    Sku,
    take,
)
from tests.support import run

NUMBER = uuid.UUID(int=7)
ORDER = Order(
    NUMBER,
    Decimal("9.90"),
    [Line(sku=Sku("a"), colour=Colour.ROUND), Line(sku=Sku("b"), quantity=2)],
    {Size.SMALL: Line(sku=Sku("c"))},
    Range(Colour.RED),
    ZoneInfo("Europe/Berlin"),
    frozenset({Sku("d"), Sku("e")}),
    Order(NUMBER, Decimal(1)),
    "private",
)


class Opaque(enum.Enum):
    THING = object()


class Item(pydantic.BaseModel):
    sku: str
    count: int = 1


class Cart(pydantic.BaseModel):
    id: uuid.UUID
    items: list[Item]
    line: Line | None = None


def stored(value):
    """The value as a function gets it from the journal."""
    return codec.decode(codec.encode(value))


def made(annotation, value):
    """What a parameter of this type gets for a value."""

    def function(value): ...

    function.__annotations__["value"] = annotation
    [converted], _kwargs = Conversion(function, "ship").arguments([value], {})
    return converted


# --- what fits ---


@pytest.fixture(scope="module")
def session():
    with pydantic_monty.Monty() as pool, pool.checkout() as session:
        yield session


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Order, ORDER),
        ("Order", ORDER),
        (list[Order], [ORDER, ORDER]),
        (list["Order"], [ORDER]),
        (typing.List["Order"], [ORDER]),  # noqa: UP006
        (dict[str, Order], {"a": ORDER}),
        (dict[Sku, list[Order]], {Sku("a"): [ORDER]}),
        (tuple[Order, ...], (ORDER, ORDER)),
        (tuple[Order, int], (ORDER, 1)),
        (set[Sku], {Sku("a")}),
        (Iterable[Sku], [Sku("a")]),
        (Optional[Order], ORDER),  # noqa: UP045
        (Order | None, None),
        (Union[Sku, Line], Line(sku=Sku("a"))),  # noqa: UP007
        (Order | list[Order], [ORDER]),
        (list[Sku] | list[Line], [Line(sku=Sku("a"))]),
        (Literal["none"] | Sku, Sku("a")),
        (typing.Annotated[Order, "an order"], ORDER),
        (Node, Node("a", [Node("b"), Node("c", [Node("d")])])),
        (Page[Order], Page([ORDER])),
        (Page["Order"], Page([ORDER])),
        (Payment, CardPayment(1, "visa")),
        (Payment | Sku, CardPayment(1, "visa")),
        (Positive, Positive(3)),
        (Own, Own(value=1)),
        (Range, Range(Colour.RED, Colour.ROUND)),
        (Colour, Colour.ROUND),
        (Size, Size.SMALL),
        (uuid.UUID, NUMBER),
        (ZoneInfo, ZoneInfo("Europe/Berlin")),
        (Batch, {"lines": [Line(sku=Sku("a"))], "number": 1}),
        (Cart, Cart(id=NUMBER, items=[Item(sku="a")], line=Line(sku=Sku("a")))),
        (list[Cart], [Cart(id=NUMBER, items=[])]),
    ],
)
def test_an_instance_comes_back_as_it_was(session, annotation, value):
    entered = codec.decode_for_sandbox(codec.encode(value))
    left = stored(session.feed_run("x", inputs={"x": entered}))

    back = made(annotation, left)

    assert (back, type(back)) == (value, type(value))
    assert codec.encode(back) == codec.encode(value)


words = st.text(max_size=3)
skus = st.builds(Sku, words)
lines = st.builds(
    Line, sku=skus, quantity=st.integers(), colour=st.none() | st.sampled_from(Colour)
)
ranges = st.builds(Range, st.sampled_from(Colour), st.sampled_from(Colour))
orders = st.recursive(
    st.builds(Order, st.uuids(), st.decimals(allow_nan=False)),
    lambda parents: st.builds(
        Order,
        st.uuids(),
        st.decimals(allow_nan=False),
        st.lists(lines, max_size=3),
        st.dictionaries(st.sampled_from(Size), lines),
        st.none() | ranges,
        st.none() | st.just(ZoneInfo("Europe/Paris")),
        st.frozensets(skus, max_size=3),
        st.none() | parents,
        words,
    ),
    max_leaves=3,
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(value=st.dictionaries(words, st.lists(orders, max_size=2), max_size=2))
def test_any_order_comes_back_from_the_sandbox_as_it_was(session, value):
    entered = codec.decode_for_sandbox(codec.encode(value))
    left = stored(session.feed_run("x", inputs={"x": entered}))

    back = made(dict[str, list[Order]], left)

    assert back == value
    assert codec.encode(back) == codec.encode(value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Any, {"a": 1}),
        (int, "text"),
        (dict, {"a": 1}),
        (list[dict[str, Any]], [{"code": "a"}]),
        (Sku | dict, {"code": "a"}),
        (Sku | Any, 7),
        (uuid.UUID | str, str(NUMBER)),
        (Literal["none"] | Sku, "none"),
        (Colour | int, True),
        (type[Order], "Order"),
        (Literal["Order"], "Order"),
        ("NoSuchClass", {"a": 1}),
        (Opaque, "anything"),
        ("1 / 0", {"a": 1}),
        (Order, None),
        (list[Order], None),
        (tuple[Order, int], None),
        (dict[str, Order], None),
        (Colour, None),
        (uuid.UUID, None),
        (Cart, None),
    ],
)
def test_what_is_passed_as_it_is(annotation, value):
    assert made(annotation, value) is value


def test_a_dict_that_people_type_becomes_an_instance():
    given = {"id": str(NUMBER), "total": 1, "lines": [{"sku": {"code": "a"}}]}

    assert made(Order, given) == Order(NUMBER, 1, [Line(sku=Sku("a"))])
    assert made(Range, {"low": "red"}) == Range(Colour.RED)
    assert made(Range, ("red", ("r", 1))) == Range(Colour.RED, Colour.ROUND)
    assert made(Batch, codec.record_of("Any", {"number": 1})) == {"number": 1}


def test_a_field_that_init_does_not_take_is_set_after_it():
    value = Measured(3, unit="cm")
    value.area = 8

    back = made(Measured, stored(value)._asdict() | {"unit": "cm"})

    assert (back.width, back.area) == (3, 8)
    frozen = Positive(3)
    object.__setattr__(frozen, "double", 6)
    assert made(Positive, stored(frozen)).double == 6


def test_an_annotation_that_cannot_be_read_leaves_the_others():
    value = made(Partly, stored(Partly(Sku("a"), Sku("b"))))

    assert value.known == Sku("a")
    assert value.unknown == stored(Sku("b"))


def test_each_parameter_has_its_type():
    order, payment = stored(ORDER), stored(CardPayment(1, "visa"))
    args, kwargs = Conversion(take, "take").arguments(
        [order, [stored(ORDER.lines[0])], {"a": order}, payment, payment],
        {"either": stored(Sku("a")), "number": str(NUMBER), "what": order, "other": "red"},
    )

    assert take(*args, **kwargs) == [
        ORDER,
        [ORDER.lines[0]],
        {"a": ORDER},
        (CardPayment(1, "visa"),) * 2,
        Sku("a"),
        NUMBER,
        order,
        {"other": Colour.RED},
    ]


# --- what does not fit ---


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (
            Sku,
            {"code": "a", "price": 1},
            "value does not fit Sku: there is no field 'price' (fields: code)",
        ),
        (Sku, {1: "a"}, "value does not fit Sku: there is no field 1 (fields: code)"),
        (Sku, {}, "value does not fit Sku: the field 'code' is missing"),
        (Sku, 5, "value does not fit Sku: it is 5"),
        (Sku, [1], "value does not fit Sku: it is [1]"),
        (Sku | None, "a", "value does not fit Sku: it is 'a'"),
        (Measured, {"width": 1}, "value does not fit Measured: the field 'unit' is missing"),
        (
            list[Line],
            [{"sku": {"code": "a"}}, {"sku": {"name": "b"}}],
            "value[1].sku does not fit Sku: there is no field 'name' (fields: code)",
        ),
        (
            dict[str, Line],
            {"a": {"quantity": 1}},
            "value['a'] does not fit Line: the field 'sku' is missing",
        ),
        (dict[Colour, int], {"green": 1}, "value.keys() does not fit Colour: it is 'green'"),
        (dict[str, Line], [], "value does not fit dict: it is []"),
        (list[Line], {"sku": 1}, "value does not fit list: it is {'sku': 1}"),
        (tuple[Line, int], [1], "value does not fit tuple of 2 items: it is [1]"),
        (Line | Sku, {"x": 1}, "value does not fit Line or Sku: it is {'x': 1}"),
        (
            Line | Sku,
            codec.record_of("Sku", {"name": "a"}),
            "value does not fit Sku: there is no field 'name' (fields: code)",
        ),
        (
            Payment,
            codec.record_of("Unknown", {"amount": 1, "card": "visa"}),
            "value does not fit Payment: there is no field 'card' (fields: amount)",
        ),
        (Range, {}, "value does not fit Range: the field 'low' is missing"),
        (Range, ("red",) * 3, "value does not fit Range: it has 3 items"),
        (Colour, "green", "value does not fit Colour: it is 'green'"),
        (uuid.UUID, "abc", "value does not fit UUID: it is 'abc'"),
        (uuid.UUID, 5, "value does not fit UUID: it is 5"),
        (ZoneInfo, "Mars/Base", "value does not fit ZoneInfo: it is 'Mars/Base'"),
        (ZoneInfo, "../x", "value does not fit ZoneInfo: it is '../x'"),
        (
            Cart,
            {"id": str(NUMBER), "items": [{"sku": "a"}, {"sku": 1}]},
            "value.items[1].sku does not fit Cart: Input should be a valid string",
        ),
        (Cart, {"items": []}, "value.id does not fit Cart: Field required"),
    ],
)
def test_what_does_not_fit(annotation, value, message):
    with pytest.raises(WrongArgument) as caught:
        made(annotation, value)

    assert str(caught.value) == f"ship(): the argument {message}."


def test_a_class_that_refuses_its_values_raises_its_own_error():
    with pytest.raises(ValueError, match=re.escape("-1 is not positive")) as caught:
        made(Positive, {"value": -1})

    assert caught.value.__notes__ == ["Raised while ship() got its argument value."]


def test_a_result_that_does_not_fit():
    def decide() -> list[Positive]: ...

    conversion = Conversion(decide, "shop.decide")

    assert conversion.returned([{"value": 1}]) == [Positive(1)]
    for value, message in (
        ([{}], "decide(): result[0] does not fit Positive: the field 'value' is missing."),
        ([{"value": -1}], "decide(): ValueError: -1 is not positive."),
    ):
        with pytest.raises(WrongResult) as caught:
            conversion.returned(value)
        assert str(caught.value) == message


@pytest.mark.parametrize(
    "func", [print, dict, partial(take), mock.Mock(__name__="any"), lambda x: x]
)
def test_functions_without_such_annotations_cost_nothing(func):
    args, kwargs = ({"a": 1},), {"b": 2}

    given, named = Conversion(func, "any").arguments(args, kwargs)

    assert list(given) == list(args)
    assert named == kwargs


# --- in workflows ---


@pytest.mark.django_db
@pytest.mark.parametrize("is_async", [False, True])
def test_a_function_gets_the_instance_that_another_gave(register, is_async):
    got = []

    def take(order: Order, *, colour: Colour) -> None:
        got.append((order, colour))

    async def atake(order: Order, *, colour: Colour) -> None:
        await asyncio.sleep(0)
        got.append((order, colour))

    register("give", lambda: ORDER)
    register("take", atake if is_async else take)

    run("await take(await give(), colour='red')", ["give", "take"])

    assert got == [(ORDER, Colour.RED)]


@pytest.mark.django_db
def test_a_function_gets_what_a_workflow_made(register):
    got = []

    def take(sku: Sku, line: Line):
        got.append((sku, line))

    register("take", take)
    code = """
from dataclasses import dataclass
from collections import namedtuple
@dataclass
class Sku:
    code: str
Line = namedtuple("Line", "sku quantity")
await take(Sku("a"), Line({"code": "b"}, 3))
"""
    run(code, ["take"])

    assert got == [(Sku("a"), Line(sku=Sku("b"), quantity=3))]


@pytest.mark.django_db
def test_a_wrong_argument_is_a_type_error_that_is_not_retried(service, register):
    def take(order: Order): ...

    register("take", take, retry=Retry(max_attempts=3, initial=0))
    code = """
try:
    await take({"total": 1})
except TypeError as error:
    seen = [error_type(error), str(error)]
seen
"""
    execution = run(code, ["take"])

    assert service.get_result(execution.pk) == [
        "WrongArgument",
        "take(): the argument order does not fit Order: the field 'id' is missing.",
    ]
    call = execution.calls.get()
    assert (call.error_type, call.raised_as, call.attempt) == ("WrongArgument", "TypeError", 1)


@pytest.mark.django_db
def test_what_a_post_init_raises_is_the_error_of_the_call(service, register):
    def take(value: Positive): ...

    register("take", take)

    execution = run("await take({'value': -1})", ["take"])

    assert service.poll(execution.pk)["error"] == "ValueError: -1 is not positive"
    assert "Raised while take() got its argument value." in (execution.calls.get().error_traceback)


@pytest.mark.django_db
def test_a_function_that_a_test_has_put_in_its_place_gets_instances_too(service, register):
    register("take", take_line)

    with mock.patch("tests.test_converters.take_line", side_effect=lambda line: line.quantity):
        execution = run("await take({'sku': {'code': 'a'}, 'quantity': 4})", ["take"])

    assert service.get_result(execution.pk) == 4


def take_line(line: Line) -> int: ...


@dataclass
class Late:
    number: "Later"


def take_late(late: Late) -> "Later": ...


def test_classes_may_come_after_the_function(register):
    entry = register("take_late", take_late) and Conversion(take_late, "take_late")

    [late], _kwargs = entry.arguments([{"number": {"value": 1}}], {})

    assert late == Late(Later(1))
    assert entry.returned({"value": 2}) == Later(2)


@dataclass
class Later:
    value: int
