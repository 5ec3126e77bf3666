"""The stubs of whole functions, and the names in them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Literal, Unpack

import pytest
from django.db import models

from durable_monty.program_check import check_program
from durable_monty.sandbox import Checker, Complaint
from durable_monty.stubs import Way, stubs_of
from tests.stubs import declared
from tests.stubs.conftest import declarations


def plain(a, b=1, *args, c, d=2, **kwargs): ...


def typed(
    a: int, /, b: str | None, *, c: list[dict[str, Any]], d: Literal["x", 1] = "x"
) -> bool: ...


def broken(a: NoSuchType, b: int, c: 1 / 0, d: str) -> dict[str, NoSuchType]: ...  # noqa: F821


def first(items: list[declared.T], like: declared.T) -> declared.T: ...


def either(a: declared.Plain, b: declared.Limited, c: declared.Bound) -> declared.Plain: ...


def wrapped(inner: declared.Box[declared.T], found: declared.T) -> declared.Pair[declared.T]: ...


@functools.wraps(typed)
def decorated(*args, **kwargs): ...


@pytest.mark.parametrize(
    ("function", "stub"),
    [
        (
            plain,
            "(a: Any, b: Any = ..., *args: Any, c: Any, d: Any = ..., **kwargs: Any) -> Any",
        ),
        (
            typed,
            "(a: int, /, b: str | None, *, c: list[dict[str, Any]], "
            "d: Literal['x', 1] = ...) -> bool",
        ),
        (broken, "(a: Any, b: int, c: Any, d: str) -> dict[str, Any]"),
        (first, "[T](items: list[T], like: T) -> T"),
        (
            either,
            "[Plain: (int, str), Limited: int, Bound](a: Plain, b: Limited, c: Bound) -> Plain",
        ),
        (
            decorated,
            "(a: int, /, b: str | None, *, c: list[dict[str, Any]], "
            "d: Literal['x', 1] = ...) -> bool",
        ),
        (declared.optional, "(number: int | None = ..., text: str | None = ...) -> Any"),
        (declared.variadic, "(*numbers: int, **more: str) -> None"),
        (max, "(*args: Any, **kwargs: Any) -> Any"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_stub_of_a_function(register, function, stub):
    register("function", function)
    assert declarations({"called": "function"}) == f"async def called{stub}: ..."


def test_names_that_exist_for_type_checkers(register):
    """They are found where their module is loaded anyway; `nowhere` does not exist."""
    register("guarded", declared.guarded)
    assert declarations({"guarded": "guarded"}) == (
        "Loaded = NamedTuple('Loaded', [('number', 'int')])\n"
        "async def guarded(a: Decimal, b: Decimal, c: Any, d: list[Any] | None, "
        "e: Loaded | dict[str, Any]) -> Any: ..."
    )


def test_a_function_that_is_not_known_here():
    assert declarations({"gone": "gone"}) == (
        "async def gone(*args: Any, **kwargs: Any) -> Any: ..."
    )


ORDER = (
    "Line = TypedDict('Line', {'sku': 'str', 'count': 'NotRequired[int]'})\n"
    "Order = TypedDict('Order', {'number': 'int', 'note': 'NotRequired[str]', "
    "'lines': 'NotRequired[list[Line]]', 'paid': 'bool'})"
)


@pytest.mark.parametrize("is_text", [True, False])
def test_keyword_arguments_of_a_typed_dict(register, checker, is_text):
    """The function takes any, so a start is not refused for those that are missing."""

    def save(**order) -> None: ...

    if not is_text:
        save.__annotations__ = {"order": Unpack[declared.Order], "return": None}
    register("save", declared.keywords if is_text else save)
    functions = {"save": "save"}
    assert (
        declarations(functions) == f"{ORDER}\nasync def save(**order: Unpack[Order]) -> None: ..."
    )

    source = """
lines = [{"sku": str(number)} for number in range(3)]
await save(number=1, paid=True, lines=lines)
await save(number="one", paid=True)
await save(number=1)
"""
    assert check_program(source, functions, [], checker) == (
        Complaint(
            4,
            12,
            "invalid-argument-type",
            'Argument to function `save` is incorrect: Expected `int`, found `Literal["one"]`',
        ),
        Complaint(
            5,
            7,
            "missing-argument",
            "No argument provided for required parameter `paid` of function `save`",
        ),
    )


def test_type_variables_follow_their_values(register, checker):
    register("first", first)
    register("either", either)
    functions = {"first": "first", "either": "either"}
    source = """
numbers = [1, 2]
(await first(numbers, 3)).bit_length()
(await first(["a"], "b")).bit_length()
(await either(1, 2, 3)) + 1
await either(b"", 2, 3)
"""
    assert check_program(source, functions, [], checker) == (
        Complaint(
            4,
            1,
            "unresolved-attribute",
            "Object of type `str` has no attribute `bit_length`",
        ),
        Complaint(
            6,
            14,
            "invalid-argument-type",
            'Argument to function `either` is incorrect: Argument type `Literal[b""]` does not '
            "satisfy constraints (`int`, `str`) of type variable `Plain`",
        ),
    )


def test_names_of_the_workflow_come_first(register):
    """Its inputs and functions may be called as types are, as classes are, and as builtins."""

    def give(day: date, numbers: list[int]) -> declared.Offer: ...

    give.__annotations__ |= {"day": date, "return": declared.Offer}
    register("give", give)
    functions = {"Offer": "give", "Decimal": "give"}
    stubs = stubs_of(functions, ["date", "list", "Any", "if"])

    assert stubs == (
        "from builtins import list as list2\n"
        "from datetime import date as date2\n"
        "from decimal import Decimal as Decimal2\n"
        "from typing import Any as Any2, NamedTuple\n"
        "__all__ = ['date', 'list', 'Any', 'Offer', 'Decimal', 'error_type']\n"
        "Offer2 = NamedTuple('Offer2', [('price', 'Decimal2'), ('note', 'str')])\n"
        "date: Any2\n"
        "list: Any2\n"
        "Any: Any2\n"
        "async def Offer(day: date2, numbers: list2[int]) -> Offer2: ...\n"
        "async def Decimal(day: date2, numbers: list2[int]) -> Offer2: ...\n"
        "def error_type(error: BaseException, /) -> str: ...\n"
    )


def test_two_classes_of_one_name(register):
    def give(day: date) -> declared.date: ...

    give.__annotations__ |= {"day": date, "return": declared.date}
    register("give", give)
    assert declarations({"give": "give"}) == (
        "date2 = NamedTuple('date2', [('list', 'int'), ('date', 'Decimal'), "
        "('after', 'Decimal')])\n"
        "async def give(day: date) -> date2: ..."
    )


@pytest.mark.parametrize("name", ["Offer", "Any", "NamedTuple", "Decimal"])
def test_the_stubs_give_the_workflow_no_names(register, checker, name):
    def give() -> declared.Offer: ...

    give.__annotations__["return"] = declared.Offer
    register("give", give)
    [problem] = check_program(f"await give()\n{name}", {"give": "give"}, [], checker)
    assert problem == Complaint(
        2,
        1,
        "unknown-name",
        f"name {name!r} is not defined. Assign it first, or give it as an input.",
    )


RECORDS = """
from dataclasses import dataclass

@dataclass
class Offer:
    price: Decimal

@dataclass
class Cheap:
    prize: int

offers = [Offer(Decimal(1)), Offer(Decimal(2))]
await save(offers)
await save([Offer(Decimal(1))])
await save([await give()])
await save([Cheap(1)])
"""


def test_records_of_the_workflow_fit(register, checker):
    """What has the attributes of a dataclass is one: the function gets the dataclass."""

    def save(offers): ...

    def give(): ...

    save.__annotations__["offers"] = list[declared.Offer]
    give.__annotations__["return"] = declared.Offer
    register("save", save)
    register("give", give)
    source = f"from decimal import Decimal\n{RECORDS}"
    assert check_program(source, {"save": "save", "give": "give"}, [], checker) == (
        Complaint(
            17,
            12,
            "invalid-argument-type",
            "Argument to function `save` is incorrect: Expected "
            "`list[Offer | dict[str, Any]]`, found "
            "`list[Offer | dict[str, Any] | Cheap]`",
        ),
    )


DICTS = """
order = {"number": 1, "paid": True}
await save(order)
await save({**order, "note": "a"})
order["lines"] = []
await save(order)
await save({"number": number, "paid": True, "lines": [{"sku": "a", "count": number}]})
await save({"number": 1})
await save({"number": 1, "paid": True, "lines": [{"sku": 7}]})
await save({"number": number, "payed": True})
"""


def test_dicts_are_checked_where_they_are_written_out(register, checker):
    def save(order): ...

    save.__annotations__["order"] = declared.Order
    register("save", save)
    problems = check_program(DICTS, {"save": "save"}, ["number"], checker)
    expected = "Argument to function `save` is incorrect: Expected `Order`, found "
    assert problems == (
        Complaint(8, 12, "invalid-argument-type", f'{expected}`dict[Literal["number"], int]`'),
        Complaint(
            9,
            12,
            "invalid-argument-type",
            f'{expected}`dict[Literal["number", "paid", "lines"], '
            'int | list[Line | dict[Literal["sku"], int]]]`',
        ),
        Complaint(
            10,
            12,
            "missing-typed-dict-key",
            "Missing required key 'paid' in TypedDict `Order` constructor",
        ),
        Complaint(
            10,
            31,
            "invalid-key",
            'Unknown key "payed" for TypedDict `Order` - did you mean "paid"?',
        ),
    )


def test_only_a_doubtful_argument_is_judged_twice(register, checker, monkeypatch):
    def save(numbers): ...

    save.__annotations__["numbers"] = list[float]
    register("save", save)
    judged = []
    judge = Checker.judge
    monkeypatch.setattr(Checker, "judge", lambda *args: judged.append(args[2]) or judge(*args))
    functions = {"save": "save"}
    for source in ("await save([1])", "await save('a')", "n = [1]\nawait save(n)"):
        check_program(source, functions, [], checker)

    exact, lenient = (stubs_of(functions, [], way) for way in (Way.ARGUMENT, Way.LENIENT))
    assert judged == [exact, exact, exact, lenient]


WORKFLOW = """
async def flow(offer: Offer, lines: Sequence[Line], box: Box[int], at: models.Model) -> Money:
    offer.prize
    for line in lines:
        line["skew"]
    kept: list[Offer] = [offer]
    box.anything, at.anything
    frame: pandas.DataFrame = None
    return offer.price
"""


def test_annotations_of_the_workflow_itself(register, checker):
    """They stand for values that the codec has changed, as those of functions do."""
    types = {
        "Offer": declared.Offer,
        "Line": declared.Line,
        "Box": declared.Box,
        "Sequence": Sequence,
        "models": models,
        "pandas": Any,
        "Money": int | Decimal,
    }
    assert check_program(WORKFLOW, {}, [], checker, types) == (
        Complaint(
            3,
            5,
            "unresolved-attribute",
            "Object of type `Offer` has no attribute `prize`",
        ),
        Complaint(
            5,
            14,
            "invalid-key",
            'Unknown key "skew" for TypedDict `Line`',
        ),
    )
