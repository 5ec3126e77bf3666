"""The table of the kinds of calls: each kind has an answer to everything that is asked of one."""

import dataclasses
import types
import typing

import pytest

from durable_monty import kinds
from durable_monty.kinds import KINDS, CallKind, Due, Kind, kind_of, kind_stored_as
from durable_monty.models import Call
from durable_monty.reads.phases import PhaseKind
from durable_monty.sandbox import SLEEP
from durable_monty.sandbox.clocks import CLOCKS

HINTS = typing.get_type_hints(
    Kind, localns={"StrOrPromise": typing.Any, "MANUAL_EXECUTOR": typing.Any}
)


def test_every_kind_that_can_be_stored_has_a_row():
    assert {kind.stored for kind in KINDS} == {*CallKind}
    assert [value for value, _label in Call._meta.get_field("kind").choices] == CallKind.values
    for kind in KINDS:
        row = types.SimpleNamespace(kind=kind.stored.value, executor=kind.executor or "default")
        assert kind_of(row) is kind
    for name in CallKind.values:
        assert kind_stored_as(name).stored == name


def test_an_unknown_kind_is_an_error():
    with pytest.raises(KeyError):
        kind_stored_as("other")
    with pytest.raises(KeyError):
        kind_of(types.SimpleNamespace(kind="other", executor="default"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.stored}-{kind.executor}")
def test_every_kind_has_every_answer(kind):
    without_default = [
        field.name for field in dataclasses.fields(Kind) if field.default is dataclasses.MISSING
    ]
    assert {field.name for field in dataclasses.fields(Kind)} - {*without_default} == {
        "functions",
        "result_when_due",
    }
    for name in without_default:
        value, hint = getattr(kind, name), HINTS[name]
        if hint is bool:
            assert isinstance(value, bool), name
    assert isinstance(kind.due, Due)
    assert PhaseKind(kind.first_phase)
    assert str(kind.waits_for)
    assert str(kind.stored.label)
    # What is never due needs no due time, and only the engine answers by time.
    assert kind.undue == "" or kind.due is not Due.NEVER
    assert kind.result_when_due is None or kind.executor == kinds.ENGINE
    assert kind.is_run == (kind.executor is None)


def test_the_names_of_the_engines_calls_are_those_of_the_sandbox():
    assert kinds.TIMER.functions == (SLEEP,)
    assert kinds.CLOCK.functions == CLOCKS
