"""Values of Python's usual classes on their way through workflows."""

import enum
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from django.db import models

from durable_monty import codec
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
