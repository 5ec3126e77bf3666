"""Values of a type, on their way through the codec, are never complained of."""

from __future__ import annotations

import datetime
import types
from collections.abc import Mapping, Sequence
from dataclasses import make_dataclass
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Union
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import create_model
from typing_extensions import TypedDict

from durable_monty import codec, register_function
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.program_check import check_program
from durable_monty.sandbox.type_check import Checker
from durable_monty.stubs import Way, stubs_of

FUNCTIONS = {"give": "give", "take": "take"}
TEXTS = st.text("abc", max_size=3)
# Types of one value, with their values.
PLAIN = [
    (int, st.integers(-9, 9)),
    (float, st.sampled_from([0.5, -1.0])),
    (str, TEXTS),
    (bool, st.booleans()),
    (bytes, st.binary(max_size=3)),
    (None, st.none()),
    (Decimal, st.sampled_from([Decimal("1.10"), Decimal(7)])),
    (datetime.date, st.sampled_from([datetime.date(2026, 1, 31)])),
    (datetime.timedelta, st.sampled_from([datetime.timedelta(hours=1)])),
    (UUID, st.uuids()),
    (Any, st.integers(1, 3)),
    (Literal["a", 1, None], st.sampled_from(["a", 1, None])),
    (Enum("Colour", {"RED": "red", "BLUE": 2}), None),
]
NAMES = st.sampled_from(["date", "list", "number", "value", "Decimal", "items", "class_"])


class Drawn(NamedTuple):
    """A type and a value of it."""

    annotation: Any
    value: Any


@st.composite
def plain(draw):
    annotation, values = draw(st.sampled_from(PLAIN))
    return Drawn(annotation, draw(st.sampled_from(list(annotation)) if values is None else values))


def containers(inner):
    # `d | None` is no annotation for all that is drawn, and Union is.
    return st.one_of(
        st.builds(lambda d: Drawn(list[d.annotation], [d.value]), inner),
        st.builds(lambda d: Drawn(Sequence[d.annotation], [d.value]), inner),
        st.builds(lambda d: Drawn(tuple[d.annotation, ...], (d.value, d.value)), inner),
        st.builds(lambda d: Drawn(dict[str, d.annotation], {"a": d.value}), inner),
        st.builds(lambda d: Drawn(Mapping[str, d.annotation], {"b": d.value}), inner),
        st.builds(lambda d: Drawn(Union[d.annotation, None], d.value), inner),  # noqa: UP007
        st.builds(lambda d: Drawn(Annotated[d.annotation, "x"], d.value), inner),
        st.builds(
            lambda d, e: Drawn(tuple[d.annotation, e.annotation], (d.value, e.value)), inner, inner
        ),
        st.builds(lambda d, e: Drawn(Union[d.annotation, e.annotation], e.value), inner, inner),  # noqa: UP007
        st.dictionaries(NAMES, inner, min_size=1, max_size=3).flatmap(classes),
    )


def classes(fields):
    """Classes of these fields, of each kind."""
    annotations = {name: each.annotation for name, each in fields.items()}
    values = {name: each.value for name, each in fields.items()}
    pairs = list(annotations.items())
    optional = {name: NotRequired[each] for name, each in pairs[1:]} | dict(pairs[:1])
    dataclass = make_dataclass("Record", pairs, frozen=True)
    named = NamedTuple("Row", pairs)
    model = create_model("Model", **{name: (each, ...) for name, each in pairs})
    return st.sampled_from(
        [
            Drawn(dataclass, dataclass(**values)),
            Drawn(named, named(**values)),
            Drawn(TypedDict("Keys", annotations), values),
            Drawn(TypedDict("Some", optional), values),
            Drawn(model, model(**values)),
        ]
    )


@pytest.fixture(scope="module")
def opened():
    with Checker() as checker:
        yield checker
    for name in FUNCTIONS:
        FUNCTION_REGISTRY.remove(name)


@settings(max_examples=60, deadline=None)
@given(drawn=st.recursive(plain(), containers, max_leaves=6))
def test_no_false_alarms(opened, drawn):
    def give(): ...

    def take(value): ...

    give.__annotations__["return"] = take.__annotations__["value"] = drawn.annotation
    for function in (give, take):
        function.__qualname__ = function.__name__
        register_function(function)
    seen = codec.decode_for_sandbox(codec.encode(drawn.value))
    lines = ["value = await give()", "await take(value)", "await take(await give())"]
    if is_display(seen):
        lines += [f"value = {seen!r}", "await take(value)", f"await take({seen!r})"]
    assert check_program("\n".join(lines), FUNCTIONS, [], opened) == ()

    for way in (Way.ARGUMENT, Way.LENIENT):
        stubs = stubs_of(FUNCTIONS, [], way)
        # As a source, the stubs show what is wrong in themselves.
        types = opened.judge(stubs, "__all__ = []\n").types
        assert [each for each in types if each.rule != "empty-body"] == []


def is_display(value):
    """Whether the value can be written in a source as it is."""
    match value:
        case codec.NamedRecord():
            return False
        case list() | tuple():
            return all(map(is_display, value))
        case dict():
            return all(map(is_display, [*value, *value.values()]))
    return type(value) in (int, float, str, bool, bytes, types.NoneType)
