"""A table of annotations: the stubs of each, uses that are right, and one that is wrong."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set as AbstractSet,
)
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from types import FunctionType
from typing import Annotated, Any, ClassVar, Final, Literal, LiteralString, Never, Optional, Self
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from durable_monty.program_check import check_program
from tests.stubs import declared
from tests.stubs.conftest import declarations

IMPORTS = (
    "from datetime import date, datetime; from decimal import Decimal; from pathlib import Path"
)
FUNCTIONS = {"take": "take", "give": "give"}


@dataclass
class Row:
    """`take` has a parameter of the type, `give` returns it.

    `fits` are arguments that are right, and `wrong` is one that is not, with the type that the
    checker finds. `shown` is its name of the type that it expects, if it is not that of the stub.
    `use` reads a result, and `complaint` is what is said of it.
    """

    annotation: Any
    stub: str
    result: str = ""
    classes: str = ""
    fits: tuple[str, ...] = ()
    wrong: tuple[str, str] | None = None
    shown: str = ""
    use: str = ""
    complaint: tuple[str, str] | None = None

    def __str__(self) -> str:
        return str(self.annotation).replace(f"{declared.__name__}.", "")


OFFER = "Offer = NamedTuple('Offer', [('price', 'Decimal'), ('note', 'str')])"
LINE = "Line = TypedDict('Line', {'sku': 'str', 'count': 'NotRequired[int]'})"
ORDER = (
    f"{LINE}\nOrder = TypedDict('Order', {{'number': 'int', 'note': 'NotRequired[str]', "
    "'lines': 'NotRequired[list[Line]]', 'paid': 'bool'})"
)
JSON = "dict[str, {0}] | list[{0}] | str | int | float | None"
SEVEN = ("7", "Literal[7]")
TEXT = ("'a'", 'Literal["a"]')


def unknown(annotation):
    """A type of which the sandbox cannot know anything."""
    return Row(annotation, "Any", fits=("7", "'a'"), use="x.anything")


ROWS = [
    # Values that are the same on both sides.
    Row(int, "int", fits=("7", "True"), wrong=TEXT, use="x + 1"),
    Row(float, "float", fits=("7", "0.5"), wrong=TEXT),
    Row(
        str,
        "str",
        fits=("'a'",),
        wrong=SEVEN,
        use="x + 1",
        complaint=(
            "unsupported-operator",
            "Operator `+` is not supported between objects of type `str` and `Literal[1]`",
        ),
    ),
    Row(bytes, "bytes", fits=("b'a'",), wrong=TEXT),
    Row(None, "None", fits=("None",), wrong=SEVEN),
    Row(date, "date", fits=("date(2026, 1, 1)",), wrong=("'2026-01-01'", 'Literal["2026-01-01"]')),
    Row(datetime, "datetime", fits=("datetime(2026, 1, 1)",), wrong=("date(2026, 1, 1)", "date")),
    Row(timedelta, "timedelta", wrong=SEVEN, use="x.total_seconds()"),
    Row(Decimal, "Decimal", fits=("Decimal(1)",), wrong=("0.5", "float*"), use="x.quantize(x)"),
    Row(Path, "Path", fits=("Path('a')",), wrong=TEXT, use="x.parent"),
    # Values that the codec changes.
    Row(UUID, "str", fits=("'a'",), wrong=SEVEN, use="x.upper()"),
    Row(ZoneInfo, "str", fits=("'Europe/Paris'",), wrong=SEVEN, use="x.upper()"),
    Row(tzinfo, "timezone | str", fits=("'Europe/Paris'",), wrong=SEVEN),
    Row(declared.Slug, "str", fits=("'a'",), wrong=SEVEN, use="x.upper()"),
    Row(
        declared.Colour,
        "Literal['red', 'blue']",
        fits=("'red'", "str(1)"),
        wrong=("'green'", 'Literal["green"]'),
        use="x.upper()",
    ),
    Row(
        declared.Level,
        "Literal[1, 2]",
        fits=("2", "1 + 1"),
        wrong=("3", "Literal[3]"),
        use="x.name",
        complaint=(
            "unresolved-attribute",
            "Object of type `Literal[1, 2]` has no attribute `name`",
        ),
    ),
    Row(declared.Size, "Literal['s', 'l']", fits=("'s'",), wrong=("'m'", 'Literal["m"]')),
    Row(declared.Ratio, "float | None", fits=("0.5", "None"), wrong=TEXT),
    Row(declared.Airport, "int", fits=("3",), wrong=TEXT),
    Row(declared.Rights, "int", fits=("3",), wrong=TEXT, use="x & 1"),
    Row(
        Literal["a", declared.Colour.RED],
        "Literal['a', 'red']",
        fits=("'red'",),
        wrong=("'b'", 'Literal["b"]'),
    ),
    Row(
        Literal[None, True, b"x", -1],
        "Literal[None, True, b'x', -1]",
        fits=("-1",),
        wrong=SEVEN,
        shown='None | Literal[True, b"x", -1]',
    ),
    Row(Literal[2**70], "int", fits=("7",), wrong=TEXT),
    # Containers.
    Row(list, "list[Any]", fits=("[1]",), wrong=SEVEN),
    Row(
        list[float],
        "list[float]",
        fits=("[1, 2]", "[int('1')]", "[]"),
        wrong=("['a']", "list[float | str]"),
        use="x[0].is_integer()",
    ),
    Row(list[UUID], "list[str]", fits=("['a']",), wrong=("[7]", "list[str | int]")),
    Row(set[float], "set[float]", fits=("{1}", "set([int('1')])"), wrong=("[1]", "list[int]")),
    Row(frozenset[int], "frozenset[int]", fits=("frozenset([1])",), wrong=("{'a'}", "set[str]")),
    Row(tuple, "tuple[Any, ...]", fits=("()", "(1, 'a')"), wrong=SEVEN),
    Row(tuple[()], "tuple[()]", fits=("()",), wrong=("(1,)", "tuple[Literal[1]]")),
    Row(tuple[int, ...], "tuple[int, ...]", fits=("(1, 2)", "()"), wrong=("[1]", "list[int]")),
    Row(
        tuple[int, *tuple[str, ...]],
        "tuple[int, *tuple[str, ...]]",
        fits=("(1,)", "(1, 'a', 'b')"),
        wrong=("('a',)", 'tuple[Literal["a"]]'),
    ),
    Row(dict, "dict[Any, Any]", fits=("{}", "{1: 2}"), wrong=("[1]", "list[int]")),
    Row(
        dict[str, float],
        "dict[str, float]",
        fits=("{'a': 1}", "dict(a=int('1'))"),
        wrong=("{'a': 'b'}", "dict[str, float | str]"),
    ),
    Row(OrderedDict[str, int], "dict[str, int]", fits=("{'a': 1}",), wrong=SEVEN),
    Row(defaultdict[str, int], "dict[str, int]", fits=("{'a': 1}",), wrong=SEVEN),
    Row(Sequence[float], "Sequence[float]", fits=("[int('1')]", "(1,)"), wrong=SEVEN),
    Row(Iterable[int], "Iterable[int]", fits=("[1]", "{1}", "{1: 2}"), wrong=SEVEN),
    Row(Collection[int], "Collection[int]", fits=("[1]", "(1,)"), wrong=SEVEN),
    Row(
        AbstractSet[float],
        "Set[float]",
        fits=("{1}", "frozenset([1])"),
        wrong=SEVEN,
        shown="AbstractSet[float]",
    ),
    Row(Mapping[str, float], "dict[str, float]", fits=("{'a': 1}",), wrong=SEVEN, use="x | x"),
    # Types around types.
    Row(Optional[int], "int | None", fits=("7", "None"), wrong=TEXT),  # noqa: UP045
    Row(
        int | None,
        "int | None",
        use="x + 1",
        complaint=(
            "unsupported-operator",
            "Operator `+` is not supported between objects of type `int | None` and `Literal[1]`",
        ),
    ),
    Row(UUID | str | Path, "str | Path", fits=("'a'", "Path('a')"), wrong=SEVEN),
    Row(Annotated[int, "positive"], "int", fits=("7",), wrong=TEXT),
    Row(Final[int], "int", fits=("7",), wrong=TEXT),
    Row(ClassVar[int], "int", fits=("7",), wrong=TEXT),
    Row(declared.Number, "int", fits=("7",), wrong=TEXT),
    Row(LiteralString, "str", fits=("'a'", "str(7)"), wrong=SEVEN),
    Row(Never, "Never", wrong=SEVEN),
    Row("'int'", "int", fits=("7",), wrong=TEXT),
    Row("list['Number']", "list[int]", fits=("[7]",), wrong=("['a']", "list[int | str]")),
    # Classes with fields.
    Row(
        declared.Offer,
        "Offer | dict[str, Any]",
        "Offer",
        classes=OFFER,
        fits=("{'price': Decimal(1)}",),
        wrong=SEVEN,
        use="x.price.quantize(x.price)\nx.prize",
        complaint=("unresolved-attribute", "Object of type `Offer` has no attribute `prize`"),
    ),
    Row(
        declared.Special,
        "Special | dict[str, Any]",
        "Special",
        classes="Special = NamedTuple('Special', [('price', 'Decimal'), ('note', 'str'), "
        "('percent', 'int')])",
        use="x.known",
        complaint=("unresolved-attribute", "Object of type `Special` has no attribute `known`"),
    ),
    Row(
        declared.Node,
        "Node | dict[str, Any]",
        "Node",
        classes="Node = NamedTuple('Node', [('value', 'int'), ('children', 'list[Node]'), "
        "('parent', 'Node | None')])",
        use="x.children[0].children[0].value.name",
        complaint=("unresolved-attribute", "Object of type `int` has no attribute `name`"),
    ),
    Row(
        declared.Box[int],
        "Box_int | dict[str, Any]",
        "Box_int",
        classes="Box_int = NamedTuple('Box_int', [('item', 'int'), ('more', 'list[Box_int]')])",
        use="x.more[0].item.upper",
        complaint=("unresolved-attribute", "Object of type `int` has no attribute `upper`"),
    ),
    Row(
        declared.Box,
        "Box | dict[str, Any]",
        "Box",
        classes="Box = NamedTuple('Box', [('item', 'Any'), ('more', 'list[Box]')])",
        use="x.more[0].item.anything",
    ),
    Row(
        declared.Labels,
        "Labels | dict[str, Any]",
        "Labels",
        classes="Box_str = NamedTuple('Box_str', [('item', 'str'), ('more', 'list[Box_str]')])\n"
        "Labels = NamedTuple('Labels', [('item', 'str'), ('more', 'list[Box_str]'), "
        "('size', 'int')])",
        use="x.more[0].item.upper()",
    ),
    Row(
        declared.date,
        "date | dict[str, Any]",
        "date",
        classes="date = NamedTuple('date', [('list', 'int'), ('date', 'Decimal'), "
        "('after', 'Decimal')])",
        use="x.after.quantize(x.date)",
    ),
    Row(
        declared.Private,
        "PrivateArgument",
        "Private",
        classes="PrivateArgument = TypedDict('PrivateArgument', {'_number': 'int', "
        "'name': 'NotRequired[str]'})\n"
        "Private = TypedDict('Private', {'_number': 'int', 'name': 'str'})",
        fits=("{'_number': 1}",),
        wrong=SEVEN,
        use="x['_numbr']",
        complaint=(
            "invalid-key",
            'Unknown key "_numbr" for TypedDict `Private` - did you mean "_number"?',
        ),
    ),
    Row(
        declared.Point,
        "Point | dict[str, Any]",
        "Point",
        classes="Point = NamedTuple('Point', [('x', 'int'), ('y', 'int')])",
        wrong=("(1, 2)", "tuple[Literal[1], Literal[2]]"),
        use="x.x + x.y + x[0]",
    ),
    Row(
        declared.Bare,
        "Bare | dict[str, Any]",
        "Bare",
        classes="Bare = NamedTuple('Bare', [('left', 'Any'), ('right', 'Any')])",
        use="x.left.anything",
    ),
    Row(
        declared.Order,
        "Order",
        classes=ORDER,
        fits=(
            "{'number': 1, 'paid': True}",
            "{'number': 1, 'paid': True, 'lines': [{'sku': 'a', 'count': int('1')}]}",
            "dict(number=1, paid=True)",
        ),
        wrong=SEVEN,
        use="x.get('note')\nx['lines'][0]['sku'].upper()\nx['nummer']",
        complaint=(
            "invalid-key",
            'Unknown key "nummer" for TypedDict `Order` - did you mean "number"?',
        ),
    ),
    Row(
        declared.Odd,
        "Odd",
        classes="Odd = TypedDict('Odd', {'class': 'int', 'two words': 'str'})",
        fits=("{'class': 1, 'two words': 'a'}",),
        wrong=("{'class': 1, 'two words': 2}", 'dict[Literal["class", "two words"], int]'),
        use="x['class'] + 1",
    ),
    Row(
        list[declared.Line],
        "list[Line]",
        classes=LINE,
        fits=("[{'sku': 'a'}]", "[{'sku': str(number)} for number in range(3)]"),
        wrong=SEVEN,
    ),
    # pydantic.
    Row(
        declared.Customer,
        "CustomerArgument",
        "Customer",
        classes="OfferArgument = TypedDict('OfferArgument', {'price': 'Decimal', "
        "'note': 'NotRequired[str]'})\n"
        "Point = NamedTuple('Point', [('x', 'int'), ('y', 'int')])\n"
        "CustomerArgument = TypedDict('CustomerArgument', {'name': 'str', "
        "'colour': \"NotRequired[Literal['red', 'blue']]\", "
        "'offers': 'NotRequired[list[OfferArgument]]', "
        "'point': 'NotRequired[Point | dict[str, Any]]'})\n"
        "Offer = TypedDict('Offer', {'price': 'Decimal', 'note': 'str'})\n"
        "Customer = TypedDict('Customer', {'name': 'str', "
        "'colour': \"Literal['red', 'blue']\", 'offers': 'list[Offer]', 'point': 'Point'})",
        fits=("{'name': 'Ann'}", "{'name': 'Ann', 'offers': [{'price': Decimal(1)}]}"),
        wrong=("{'name': 7}", 'dict[Literal["name"], int]'),
        use="x['offers'][0]['price'].quantize(1)\nx['point'].x + 1\nx['nam']",
        complaint=(
            "invalid-key",
            'Unknown key "nam" for TypedDict `Customer` - did you mean "name"?',
        ),
    ),
    Row(
        declared.Shown,
        "ShownArgument",
        "Shown",
        classes="ShownArgument = TypedDict('ShownArgument', {'amount': 'int', 'hidden': 'int', "
        "'when': 'Any'})\n"
        "Shown = TypedDict('Shown', {'amount': 'int', 'when': 'Any', 'double': 'int'})",
        use="x['when'].upper()\nx['hidden']",
        complaint=("invalid-key", 'Unknown key "hidden" for TypedDict `Shown`'),
    ),
    Row(
        declared.Page[int],
        "Page_int_Argument",
        "Page_int",
        classes="Page_int_Argument = TypedDict('Page_int_Argument', {'items': 'list[int]'})\n"
        "Page_int = TypedDict('Page_int', {'items': 'list[int]'})",
        use="x['items'][0] + 1",
    ),
    Row(declared.Numbers, "list[int]", fits=("[1]",), wrong=("['a']", "list[int | str]")),
    Row(declared.Loose, "dict[str, Any]", fits=("{'a': 1}",), wrong=SEVEN, use="x['more']"),
    Row(
        declared.Aliased,
        "dict[str, Any]",
        "Aliased",
        classes="Aliased = TypedDict('Aliased', {'name': 'str'})",
        fits=("{'full name': 'Ann'}",),
        wrong=SEVEN,
        use="x['name'].upper()",
    ),
    # Aliases.
    Row(
        "Json",
        "Json",
        "Json2",
        classes=f"type Json = {JSON.format('Json')}\ntype Json2 = {JSON.format('Json2')}",
        fits=("{'a': [1, {'b': None}]}", "[['a']]", "[int('1')]"),
        wrong=("b'a'", 'Literal[b"a"]'),
    ),
    Row(
        declared.Tree,
        "Tree",
        "Tree2",
        classes="type Tree = list[Tree] | int\ntype Tree2 = list[Tree2] | int",
        fits=("[1, [2]]",),
        wrong=TEXT,
    ),
    Row(declared.Pair[int], "tuple[int, int]", fits=("(1, 2)",), wrong=SEVEN),
    # Types of which the sandbox knows nothing.
    *map(
        unknown,
        (
            *(Any, object, Callable[[int], str], type[int], Awaitable[int], Iterator[int], deque),
            *(declared.Later, declared.P, declared.P.args, Self, "NoSuchType", "1 +", "1 / 0"),
            *([], 7, ...),
        ),
    ),
]


@pytest.fixture
def functions(register):
    """Registers `take` and `give` with a type, as functions of the module `declared`."""

    def make(annotation):
        def take(value): ...

        def give(): ...

        take, give = (FunctionType(each.__code__, vars(declared)) for each in (take, give))
        take.__annotations__, give.__annotations__ = {"value": annotation}, {"return": annotation}
        register("take", take)
        register("give", give)
        return FUNCTIONS

    return make


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_stub(functions, row):
    classes = f"{row.classes}\n" if row.classes else ""
    assert declarations(functions(row.annotation)) == (
        f"{classes}async def take(value: {row.stub}) -> Any: ...\n"
        f"async def give() -> {row.result or row.stub}: ..."
    )


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_right_uses(functions, checker, row):
    lines = [IMPORTS, "await take(await give())"]
    for value in row.fits:
        lines += [f"value = {value}", "await take(value)", f"await take({value})"]
    if row.use and not row.complaint:
        lines += ["x = await give()", row.use]

    assert check_program("\n".join(lines), functions(row.annotation), [], checker) == ()


@pytest.mark.parametrize("row", [row for row in ROWS if row.wrong], ids=str)
@pytest.mark.parametrize("is_variable", [False, True])
def test_wrong_argument(functions, checker, row, is_variable):
    value, found = row.wrong
    source = f"value = {value}\nawait take(value)" if is_variable else f"\nawait take({value})"
    problems = check_program(f"{IMPORTS}; {source}", functions(row.annotation), [], checker)

    is_silent = "Literal" in row.stub or (value.startswith("{'") and "TypedDict" in row.classes)
    if is_variable and is_silent:
        assert problems == ()  # a text may be one of the values, a dict may have the keys
        return
    [problem] = problems
    assert (problem.line, problem.column, problem.rule) == (2, 12, "invalid-argument-type")
    shown = row.shown or row.stub.replace("'", '"')
    text = f"Argument to function `take` is incorrect: Expected `{shown}`, found "
    assert problem.message.startswith(text)
    assert is_variable or problem.message == f"{text}`{found}`"


@pytest.mark.parametrize("row", [row for row in ROWS if row.complaint], ids=str)
def test_wrong_use_of_a_result(functions, checker, row):
    source = f"{IMPORTS}\nx = await give()\n{row.use}"
    [problem] = check_program(source, functions(row.annotation), [], checker)
    assert (problem.line, problem.rule, problem.message) == (
        source.count("\n") + 1,
        *row.complaint,
    )
