import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Literal, Optional

import pytest
from django.db.models import IntegerChoices

from durable_monty import codec
from durable_monty.models import Call
from tests.admin.pages import text_of, url_of

pytestmark = pytest.mark.django_db


class Colour(enum.Enum):
    DARK_RED = "red"
    BLUE = "blue"


class Level(IntegerChoices):
    LOW = 1, "Rather low"
    HIGH = 2, "Quite high"


class Opaque(enum.Enum):
    THING = object()


@dataclass
class Offer:
    amount: Decimal
    colour: Colour
    note: str | None
    until: "date"
    tags: list[str]


@dataclass
class Broken:
    what: "NoSuchType"  # noqa: F821


@pytest.fixture
def question(asked, register):
    """A call of a function that returns this type, which waits for a person."""

    def ask(annotation):
        def decide(): ...

        if annotation is not None:
            decide.__annotations__["return"] = annotation
        register("decide", decide, executor="manual")
        return asked("await decide()", ["decide"])

    return ask


def answer(client, call, **fields):
    data = {"outcome": "complete", "error_message": "", "reason": "", **fields}
    return client.post(url_of(call), data)


def errors_of(response):
    return {name: list(texts) for name, texts in response.context["adminform"].errors.items()}


@pytest.mark.parametrize(
    ("annotation", "typed", "value"),
    [
        (int, "42", 42),
        (float, "2.5", 2.5),
        (str, " two\r\nlines ", " two\nlines "),
        (bool, "false", False),
        (date, "2026-01-31", date(2026, 1, 31)),
        (time, "14:02", time(14, 2)),
        (datetime, "2026-01-31T14:02", datetime(2026, 1, 31, 14, 2, tzinfo=UTC)),
        (Decimal, "1.10", Decimal("1.10")),
        (Literal["yes", "no", 3], "3", 3),
        (Literal["yes", "no", 3], '"no"', "no"),
        (Colour, '"red"', "red"),
        (Level, "2", 2),
        (int | None, "", None),
        (int | None, "7", 7),
        (Optional[str], "", None),  # noqa: UP045
        (bool | None, "null", None),
        (bool | None, "true", True),
        (list[int], "[1, 2]", [1, 2]),
        (dict[str, list[int]], '{"a": [1]}', {"a": [1]}),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (tuple[int, ...], "[1, 2, 3]", (1, 2, 3)),
        (set[int], "[2, 1, 2]", {1, 2}),
        (int | str, '"a"', "a"),
        (list[Any], '[1, "a"]', [1, "a"]),
        (Any, "null", None),
        (None, "{}", {}),
        (Opaque, '"anything"', "anything"),
    ],
)
def test_a_field_of_the_type(question, clerk, annotation, typed, value):
    call = question(annotation)
    assert clerk.get(url_of(call)).status_code == 200

    response = answer(clerk, call, result=typed)

    assert response.status_code == 302, errors_of(response)
    given = codec.decode(Call.objects.get().result)
    assert (given, type(given)) == (value, type(value))


@pytest.mark.parametrize(
    ("annotation", "typed", "error"),
    [
        (int, "", "This field is required."),
        (int, "many", "Enter a whole number."),
        (str, "", "This field is required."),
        (bool, "", "This field is required."),
        (bool | None, "", "This field is required."),
        (date, "31st", "Enter a valid date."),
        (Decimal, "NaN", "Enter a number."),
        (Colour, "", "This field is required."),
        (
            Colour,
            '"green"',
            'Select a valid choice. "green" is not one of the available choices.',
        ),
        (list[int], "[1, true]", "result[1] is not of the type int."),
        (list[int], '{"a": 1}', "result is not of the type list[int]."),
        (dict[str, int], '{"a": "b"}', "result['a'] is not of the type int."),
        (dict[str, int], '{"$dict": [[1, 2]]}', "result.keys() is not of the type str."),
        (tuple[int, str], "[1]", "result must have 2 items."),
        (tuple[int, str], "[1, 2]", "result[1] is not of the type str."),
        (int | str, "[]", "result is not of the type int | str."),
        (list[Literal["a"]], '["b"]', "result[0] is not of the type Literal['a']."),
    ],
)
def test_what_is_not_of_the_type_is_an_error(question, clerk, annotation, typed, error):
    call = question(annotation)

    response = answer(clerk, call, result=typed)

    assert errors_of(response) == {"result": [error]}
    assert error in text_of(response)
    assert Call.objects.get().is_open


def test_a_choice_has_no_default(question, clerk):
    page = clerk.get(url_of(question(Level))).content.decode()

    assert "Rather low" in page
    assert "Quite high" in page
    assert page.count("checked") == 1  # the outcome


def test_names_of_an_enum_are_readable(question, clerk):
    assert "Dark red" in text_of(clerk.get(url_of(question(Colour))))


def test_many_choices_are_a_list(question, clerk):
    call = question(Literal[tuple(range(20))])

    page = clerk.get(url_of(call)).content.decode()

    assert '<select name="result"' in page
    assert errors_of(answer(clerk, call, result="")) == {"result": ["This field is required."]}
    assert answer(clerk, call, result="19").status_code == 302
    assert Call.objects.get().result == "19"


@pytest.mark.parametrize(
    ("annotation", "hint"),
    [
        (list[int], "Type: list[int]. For example: [0]"),
        (dict[str, list[bool]], 'Type: dict[str, list[bool]]. For example: {"…": [true]}'),
        (int | str, "Type: int | str. For example: 0"),
        (Opaque, "Type: Opaque."),
    ],
)
def test_json_is_explained(question, clerk, annotation, hint):
    assert hint in text_of(clerk.get(url_of(question(annotation))))


def test_a_dataclass_has_a_field_for_each_part(question, clerk):
    call = question(Offer)
    parts = {
        "result_amount": "9.90",
        "result_colour": '"blue"',
        "result_note": "",
        "result_until": "2026-02-01",
        "result_tags": '["new"]',
    }

    page = text_of(clerk.get(url_of(call)))
    assert "amount:" in page
    response = answer(clerk, call, **{**parts, "result_tags": "[1]"})
    assert errors_of(response) == {"result_tags": ["result[0] is not of the type str."]}
    response = answer(clerk, call, **{**parts, "result_amount": ""})
    assert errors_of(response) == {"result_amount": ["This field is required."]}
    response = answer(clerk, call, **parts)

    assert response.status_code == 302, errors_of(response)
    stored = Call.objects.get().result
    assert stored.startswith('{"$named":["Offer",')
    assert codec.decode(stored)._asdict() == {
        "amount": Decimal("9.90"),
        "colour": "blue",
        "note": None,
        "until": date(2026, 2, 1),
        "tags": ["new"],
    }


def test_parts_of_unknown_types_are_json(question, clerk):
    call = question(Broken)

    response = answer(clerk, call, result_what="[1]")

    assert response.status_code == 302, errors_of(response)
    assert codec.decode(Call.objects.get().result)._asdict() == {"what": [1]}


def test_an_error_needs_no_result(question, clerk):
    call = question(Offer)

    response = answer(clerk, call, outcome="fail", error_message="no", result_amount="rubbish")

    assert response.status_code == 302, errors_of(response)
    assert Call.objects.get().error_message == "no"


def test_types_are_escaped(question, clerk):
    page = clerk.get(url_of(question(list[Literal["<script>alert(1)</script>"]]))).content

    assert b"<script>alert" not in page
