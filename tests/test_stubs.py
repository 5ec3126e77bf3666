from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal, Optional

import pytest

from durable_monty.sandbox import Complaint, Limits, check_types
from durable_monty.stubs import stubs_of

HEAD = """from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal
def error_type(error: BaseException, /) -> str: ...
"""
LIMITS = Limits(64 * 2**20, 5.0, 100, 1_000, 10_000, processes=2)


@dataclass
class Offer:
    price: Decimal


def plain(a, b=1, *args, c, d=2, **kwargs): ...


def typed(
    a: int, /, b: str | None, *, c: list[dict[str, Any]], d: Literal["x", 1] = "x"
) -> bool: ...


def dated(day: date, amount: Optional[Decimal], pair: tuple[int, ...]) -> None: ...  # noqa: UP045


def own(offer: Offer, callback: "Offer") -> list[Offer]: ...


def broken(a: "NoSuchType") -> "NoSuchType": ...  # noqa: F821


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
        (broken, "(*args: Any, **kwargs: Any) -> Any"),
    ],
)
def test_stub_of_a_function(register, function, stub):
    register("function", function)

    stubs = stubs_of({"called": "function"}, ["number"])

    assert stubs == f"{HEAD}number: Any\nasync def called{stub}: ...\n"
    assert check_types("number", stubs, LIMITS) == []


def test_a_function_that_is_not_known_here():
    assert stubs_of({"gone": "gone"}, []) == (
        f"{HEAD}async def gone(*args: Any, **kwargs: Any) -> Any: ...\n"
    )


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("x = = 2", Complaint(1, 5, "invalid-syntax", "Expected an expression")),
        (
            "x = 1\nx = await typd(1, 'b', c=[])",
            Complaint(2, 11, "unresolved-reference", "Name `typd` used when not defined"),
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
        (
            "x = 1\ndel x",
            Complaint(
                2,
                1,
                "invalid-syntax",
                "The monty syntax parser does not yet support the 'del' statement",
            ),
        ),
        (
            "import nowhere",
            Complaint(1, 8, "unresolved-import", "Cannot resolve imported module `nowhere`"),
        ),
    ],
)
def test_complaints(register, source, complaint):
    register("typed", typed)

    found = check_types(source, stubs_of({"typed": "typed"}, []), LIMITS)

    assert found == [complaint]


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
    assert check_types(source, stubs_of({"typed": "typed"}, ["number"]), LIMITS) == []
