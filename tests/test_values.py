"""Values of Python's usual classes on their way through workflows."""

import enum
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pydantic
import pytest
from django.db import models

from durable_monty import codec
from tests.documents import DOCS, tables
from tests.support import run, work

pytestmark = pytest.mark.django_db

ORDER = uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057")
AUTUMN = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))


class Size(models.TextChoices):
    SMALL = "s", "Small"


class Level(enum.IntEnum):
    LOW = 1


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Line:
    size: Size
    price: Decimal


@dataclass
class Order:
    id: uuid.UUID
    lines: list[Line]


class Price(NamedTuple):
    amount: Decimal
    currency: str


@dataclass
class Weight:
    _grams: float


class Customer:
    """Has what counts of a pydantic model."""

    def model_dump(self, mode):
        return {"id": ORDER, "since": Colour.RED}


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (ORDER, str(ORDER)),
        (Path("in/box.txt"), Path("in/box.txt")),
        (Size.SMALL, "s"),
        (Level.LOW, 1),
        (Colour.RED, "red"),
        ({Colour.RED: Level.LOW}, {"red": 1}),
        (Order(ORDER, [Line(Size.SMALL, Decimal("5.00"))]),
         (str(ORDER), [("s", Decimal("5.00"))])),
        (Price(Decimal("5.00"), "EUR"), (Decimal("5.00"), "EUR")),
        (Weight(5.0), {"_grams": 5.0}),
        ({"total": Decimal("5.00")}, {"total": Decimal("5.00")}),
        (Customer(), {"id": str(ORDER), "since": "red"}),
        (ZoneInfo("Europe/Berlin"), "Europe/Berlin"),
        (AUTUMN, AUTUMN),
    ],
)  # fmt: skip
def test_a_result_an_input_and_an_answer_by_hand(service, register, value, seen):
    register("give", lambda: value)
    code = "[await give(), given, await approve('it')]"
    execution = run(code, ["give", "approve"], {"given": value})
    service.complete_call(execution.pk, 1, value)
    work()

    assert service.get_result(execution.pk) == [seen, seen, seen]


@pytest.mark.parametrize("value", [ORDER, Path("in/box.txt"), ZoneInfo("Europe/Berlin"), AUTUMN])
def test_who_reads_a_result_gets_its_own_type(register, value):
    register("give", lambda: value)

    result = codec.decode(run("await give()", ["give"]).calls.get().result)

    assert (result, type(result)) == (value, type(value))


def test_a_moment_keeps_its_zone_on_the_way_from_function_to_function(service, register):
    got = []
    register("give", lambda: AUTUMN)
    register("take", got.append)

    run("when = await give()\nawait take(when)", ["give", "take"])

    [moment] = got
    assert (moment, moment.tzinfo, moment.fold) == (AUTUMN, ZoneInfo("Europe/Berlin"), 1)
    assert moment.astimezone(UTC) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_a_moment_that_a_workflow_moved_is_shown_in_its_zone(service, register):
    register("give", lambda: AUTUMN)
    code = "from datetime import timedelta\nawait give() + timedelta(days=200)"

    moment = service.get_result(run(code, ["give"]).pk)

    assert moment.tzinfo == ZoneInfo("Europe/Berlin")
    assert moment.astimezone(UTC) == AUTUMN.astimezone(UTC) + timedelta(days=200)


def test_two_keys_that_would_become_one_are_refused(service, register):
    register("give", lambda: {float("nan"): 1, float("nan"): 2})

    execution = run("await give()", ["give"])

    assert execution.error_message == (
        "give() returned what cannot be stored: result: two keys or elements are the same once "
        "they are stored."
    )


# --- the table of the documentation ---


class Count(int):
    pass


class Item(pydantic.BaseModel):
    price: Decimal


ROWS = {
    "an instance of a dataclass, or of a `NamedTuple`": [Line("s", Decimal(1)), Price(1, "EUR")],
    "a pydantic model": [Item(price=1)],
    "a member of an `Enum`": [Colour.RED],
    "a member of `IntEnum`, `StrEnum` or `models.TextChoices`": [Level.LOW, Size.SMALL],
    "a UUID, a `zoneinfo.ZoneInfo`": [ORDER, ZoneInfo("Europe/Berlin")],
    "a datetime with a ZoneInfo": [datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Berlin"))],
    "a naive datetime with a `fold`": [datetime(2026, 7, 1, fold=1)],
    "an instance of a dataclass of the workflow": ["Made(1)"],
    "an instance of another class of the workflow": ["Other()"],
    "an instance of another subclass of a builtin type": [Count(7)],
}
CLASSES = """
from dataclasses import dataclass
@dataclass
class Made:
    number: int
class Other:
    def __init__(self):
        self.number = 1
"""


@dataclass
class Made:
    number: int


@dataclass
class Other:
    number: int


def is_same(value, given):
    zones = [getattr(each, "tzinfo", None) for each in (value, given)]
    return (value, type(value)) == (given, type(given)) and zones[0] == zones[1]


# What a cell of the table says of a value, beside the one that was given.
SAYS = {
    "a record": lambda value, given: isinstance(value, codec.NamedRecord),
    "an instance": is_same,
    "itself": is_same,
    "the member": is_same,
    "a dict": lambda value, given: type(value) is dict,
    "the dict of its `model_dump()`": lambda value, given: value == given.model_dump(),
    "its value": lambda value, given: value == given.value and value != given,
    "its base": lambda value, given: value == given and type(value) in (int, str),
    "a text": lambda value, given: value == str(given),
    "with a fixed offset": lambda value, given: value == given and type(value.tzinfo) is timezone,
    "without its `fold`": lambda value, given: value == given.replace(fold=0) and not value.fold,
}


def test_the_table_has_these_rows():
    rows = tables(DOCS / "reference" / "values.md")["Values"]

    assert [row[0] for row in rows] == list(ROWS)


@pytest.mark.parametrize(
    ("label", "given"), [(label, given) for label, values in ROWS.items() for given in values]
)
def test_the_table_of_values(register, label, given):
    rows = {row[0]: row[1:] for row in tables(DOCS / "reference" / "values.md")["Values"]}
    in_workflow, in_function, in_parameter = rows[label]
    directly, _, passed_on = in_function.partition("; ")
    made_there = {"Made(1)": Made, "Other()": dict}.get(given) if type(given) is str else None
    got = []

    def take(value):
        got.append(value)

    def take_instance(value):
        got.append(value)

    take_instance.__annotations__["value"] = made_there or type(given)
    register("give", lambda: given)
    register("take", take)
    register("take_instance", take_instance)
    value = given if made_there else "await give()"
    code = f"{CLASSES}\nvalue = {value}\nawait take(value)\nawait take_instance(value)"

    calls = run(code, ["give", "take", "take_instance"]).calls

    if made_there:
        given = Made(1)
    else:
        stored = calls.get(function="give").result
        assert SAYS[directly](codec.decode(stored), given)
        entered = codec.decode_for_sandbox(stored)
        # The sandbox itself drops the fold; `passed_on` is the proof.
        assert SAYS[in_workflow](entered, given) or "fold" in in_workflow
    [passed, instance] = got
    assert SAYS[(passed_on or directly).removesuffix(" if the workflow passed it on")](
        passed, given
    )
    assert SAYS[in_parameter](instance, given)
