from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, Optional

import pytest

from durable_monty.program_check import check_program
from durable_monty.sandbox import Checker, Complaint
from durable_monty.sandbox.type_check import Verdict
from durable_monty.stubs import stubs_of

HEAD = """from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal
def error_type(error: BaseException, /) -> str: ...
"""


@dataclass
class Offer:
    price: Decimal


def plain(a, b=1, *args, c, d=2, **kwargs): ...


def typed(
    a: int, /, b: str | None, *, c: list[dict[str, Any]], d: Literal["x", 1] = "x"
) -> bool: ...


def dated(day: date, amount: Optional[Decimal], pair: tuple[int, ...]) -> None: ...  # noqa: UP045


def own(offer: Offer, callback: "Offer") -> list[Offer]: ...


def broken(a: "NoSuchType", b: "int") -> "NoSuchType": ...  # noqa: F821


class Colour(Enum):
    RED = 1


def chosen(colour: Literal[Colour.RED], size: Literal["s", None]) -> list["NoSuchType"]: ...  # noqa: F821


@pytest.mark.parametrize(
    ("function", "stub"),
    [
        (
            plain,
            "(a: 'Any', b: 'Any' = ..., *args: 'Any', c: 'Any', d: 'Any' = ..., **kwargs: 'Any') "
            "-> 'Any'",
        ),
        (
            typed,
            "(a: 'int', /, b: 'str | None', *, c: 'list[dict[str, Any]]', "
            "d: \"Literal['x', 1]\" = ...) -> 'bool'",
        ),
        (dated, "(day: 'date', amount: 'Decimal | None', pair: 'tuple[int, ...]') -> 'None'"),
        (own, "(offer: 'Any', callback: 'Any') -> 'list[Any]'"),
        (broken, "(a: 'Any', b: 'int') -> 'Any'"),
        (chosen, "(colour: 'Any', size: \"Literal['s', None]\") -> 'list[Any]'"),
        (max, "(*args: Any, **kwargs: Any) -> Any"),
    ],
)
def test_stub_of_a_function(register, function, stub):
    register("function", function)

    stubs = stubs_of({"called": "function"}, ["number"])

    assert stubs == f"{HEAD}number: Any\nasync def called{stub}: ...\n"
    with Checker() as checker:
        assert checker.judge("number", stubs) == Verdict()


def test_a_function_that_is_not_known_here():
    assert stubs_of({"gone": "gone"}, []) == (
        f"{HEAD}async def gone(*args: Any, **kwargs: Any) -> Any: ...\n"
    )


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("x = = 2", Complaint(1, 5, "invalid-syntax", "Expected an expression")),
        (
            "x = 1\nx = await typd(1, 'b', c=[])\nx",
            Complaint(
                2,
                11,
                "unknown-name",
                "'typd' is not a function that this workflow may call: did you mean 'typed'? It "
                "may call: typed.",
            ),
        ),
        (
            "await typed('a', 'b', c=[])",
            Complaint(
                1,
                13,
                "invalid-argument-type",
                'Argument to function `typed` is incorrect: Expected `int`, found `Literal["a"]`',
            ),
        ),
    ],
)
def test_complaints(register, source, complaint):
    register("typed", typed)

    assert check_program(source, {"typed": "typed"}, []) == (complaint,)


def test_nothing_to_complain_of(register):
    register("typed", typed)
    source = """
from asyncio import gather, sleep
import random

a, b = await gather(typed(1, None, c=[]), typed(2, "b", c=[], d=1))
await sleep(number)
if a and b:
    print(random.random() / 0)
"""
    assert check_program(source, {"typed": "typed"}, ["number"]) == ()
