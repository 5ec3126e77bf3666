"""Functions and the JSON schemas of their parameters."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import pytest

from durable_monty.api.functions import parameters_schema, returns_schema

pytestmark = pytest.mark.django_db


@dataclass
class Parcel:
    weight: float
    fragile: bool = False


def send(parcel: Parcel, to: str, speed: Literal["slow", "fast"] = "slow") -> int:
    """Sends a parcel."""


def later(when: "NoSuchType", count: "int") -> "None":  # noqa: F821
    pass


def anything(first, *rest, **named):
    pass


def test_a_schema_has_the_types_of_the_annotations():
    schema = parameters_schema(send)
    assert schema["required"] == ["parcel", "to"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["to"] == {"type": "string"}
    assert schema["properties"]["speed"]["enum"] == ["slow", "fast"]
    assert schema["properties"]["parcel"]["properties"]["weight"]["type"] == "number"
    assert returns_schema(send) == {"type": "integer"}


@pytest.mark.parametrize(
    ("func", "schema"),
    [
        (
            later,
            {
                "type": "object",
                "properties": {"when": {}, "count": {"type": "integer"}},
                "required": ["when", "count"],
                "additionalProperties": False,
            },
        ),
        (anything, {"type": "object", "properties": {"first": {}}, "required": ["first"]}),
        (dict, {"type": "object"}),
    ],
)
def test_what_is_unknown_is_anything(func, schema):
    assert parameters_schema(func) == schema


def test_the_list(api, register):
    register("send", send, admin=True)
    items = {row["function"]: row for row in api.get("/functions").json()["items"]}
    assert items["send"] == {
        "name": "send",
        "function": "send",
        "description": "Sends a parcel.",
        "executor": "default",
        "parameters": parameters_schema(send),
        "returns": {"type": "integer"},
    }
    assert items["approve"]["executor"] == "manual"
    assert returns_schema(lambda: Decimal(1)) == {}
