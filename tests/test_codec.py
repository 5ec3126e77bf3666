from __future__ import annotations

import cmath
import collections
import copy
import enum
import inspect
import io
import json
import math
import os
import pathlib
import pickle
import subprocess
import sys
import uuid
import zoneinfo
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pydantic_monty
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from durable_monty.codec import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_INT_BITS,
    NamedRecord,
    Record,
    are_alike,
    as_dicts,
    clean_text,
    decode,
    decode_for_sandbox,
    encode,
    load_with_objects,
    record_of,
)
from durable_monty.exceptions import CorruptValue, UnstorableValue

TAGS = (
    "$bytes $complex $date $datetime $decimal $dict $float $frozenset $int $named $path $record "
    "$set $time $timedelta $timezone $tuple $uuid $zone"
).split()


def law(examples):
    """Fixed examples, and no deadline: a property must not depend on the seed or the machine."""
    return settings(
        derandomize=True,
        deadline=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow],
    )


# --- what is generated ---

offsets = st.integers(-86_399, 86_399).map(lambda seconds: timedelta(seconds=seconds))
zones = (
    st.just(UTC) | st.builds(timezone, offsets) | st.builds(timezone, offsets, st.text(max_size=5))
)
any_zone = st.none() | zones
folds = st.sampled_from([0, 0, 0, 1])


def is_nan(leaf):
    if isinstance(leaf, Decimal):
        return leaf.is_nan()
    return isinstance(leaf, float | complex) and cmath.isnan(leaf)


names_of_files = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
datetimes = st.builds(
    lambda moment, fold: moment.replace(fold=fold), st.datetimes(timezones=any_zone), folds
)
times = st.builds(
    lambda moment, fold: moment.replace(fold=fold), st.times(timezones=any_zone), folds
)
big_ints = st.builds(
    lambda bits, below, sign: sign * ((1 << bits) + below),
    st.sampled_from([62, 63, 64, 200, 14_283, 14_284, 14_285, 20_000]),
    st.integers(-2, 2),
    st.sampled_from([1, -1]),
)
decimals = st.decimals() | st.sampled_from(
    [
        Decimal("-0E+3"),
        Decimal("1.10"),
        Decimal("-NaN12"),
        Decimal("1E+999999"),
        Decimal("9" * 4300),
    ]
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | big_ints
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\0", "\u2028", "😀", '"', "\\ud800", *TAGS])
    | st.binary(max_size=8)
    | decimals
    | st.complex_numbers()
    | st.dates()
    | datetimes
    | times
    | st.timedeltas()
    | zones
)
places = st.sampled_from(
    sorted(name for name in zoneinfo.available_timezones() if "/" in name)
).map(zoneinfo.ZoneInfo)
# What is a text or has a fixed offset in the sandbox.
of_the_host = (
    st.datetimes(timezones=places) | places | st.uuids() | names_of_files.map(pathlib.Path)
)
names_of_classes = st.sampled_from(["Order", "Straße", "_Line"])
names_of_fields = st.sampled_from(["total", "sku", "count", "index", "größe", "match", "x_"])


def records_of(inner):
    attributes = st.dictionaries(names_of_fields, inner, max_size=3)
    return st.builds(record_of, names_of_classes, attributes)


hashables = st.recursive(
    leaves.filter(lambda leaf: not is_nan(leaf)),  # two of them are refused
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.frozensets(inner, max_size=3)
        | records_of(inner)
    ),
    max_leaves=5,
)
names = st.text(max_size=4) | st.sampled_from(TAGS)


def values_of(leaves):
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.lists(inner, max_size=4).map(tuple)
            | st.dictionaries(names, inner, max_size=3)
            | st.dictionaries(hashables, inner, max_size=3)
            | records_of(inner)
        ),
        max_leaves=12,
    )


values = values_of(leaves | hashables | st.sets(hashables, max_size=4))


def canonical(value):
    """`value` in a form that is equal only for the same values of the same types."""
    match value:
        case dict():
            exact = [(canonical(key), canonical(item)) for key, item in value.items()]
        case set() | frozenset():
            kind = set if isinstance(value, set) else frozenset
            return kind, sorted(map(canonical, value), key=repr)
        case NamedRecord():
            return type(value).__name__, canonical(value._asdict())
        case list() | tuple():
            exact = [canonical(item) for item in value]
        case datetime() | time():
            key = getattr(value.tzinfo, "key", None)
            exact = value.isoformat(), value.tzname(), value.fold, key
        case timezone():
            exact = value.utcoffset(None), value.tzname(None)
        case int():
            exact = hex(value)
        case _:
            exact = repr(value)
    return type(value), exact


# --- laws ---


@law(200)
@given(values)
def test_a_value_comes_back_as_it_was(value):
    text = encode(value)

    assert text.isascii()
    assert encode(value, max_bytes=len(text)) == text
    assert canonical(decode(text)) == canonical(value)
    assert canonical(decode_for_sandbox(text)) == canonical(value)


@law(150)
@given(values_of(of_the_host | st.sets(of_the_host, max_size=3)))
def test_functions_and_readers_get_the_hosts_own_types_back(value):
    text = encode(value)

    assert canonical(decode(text)) == canonical(value)
    assert encode(decode(text)) == text


@law(100)
@given(values)
def test_what_came_back_is_written_as_before(value):
    text = encode(value)

    assert encode(decode(text)) == text
    assert encode(decode_for_sandbox(text)) == text


@law(70)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63) + 1, 2**63 - 1)
        | st.text()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.text().filter(lambda name: not name.startswith("$")), inner)
        ),
    )
)
def test_plain_json_is_written_as_json_writes_it(value):
    assert encode(value) == json.dumps(value, separators=(",", ":"))


def test_references_to_one_list_come_back_as_two():
    shared = [0]

    first, second = decode(encode([shared, shared]))

    assert first == second == shared
    assert first is not second


def test_equal_sets_have_one_text_whatever_their_history():
    names = [f"name {number}" for number in range(50)]
    grown = set(names) | {f"other {number}" for number in range(500)}
    grown -= {f"other {number}" for number in range(500)}

    assert encode(grown) == encode(set(names))


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Shape(enum.Enum):
    ROUND = ("r", 1)


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Twin(enum.Enum):
    A = "a"


class Pydantic:
    """Has the one method that counts of pydantic's models."""

    def __init__(self, **fields):
        self.fields = fields

    def model_dump(self, mode):
        assert mode == "python"
        return self.fields


# --- the text ---


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        ([0, -0.0, 1e22, "\0é😀"], '[0,-0.0,1e+22,"\\u0000\\u00e9\\ud83d\\ude00"]'),
        (2**63 - 1, "9223372036854775807"),
        (-(2**63), '{"$int":"-9223372036854775808"}'),
        pytest.param(10**4300 - 1, '{"$int":"%s"}' % ("9" * 4300), id="4,300 digits"),
        pytest.param(-(16**4000), '{"$int":"-0x1%s"}' % ("0" * 4000), id="4,817 digits"),
        (math.inf, '{"$float":"inf"}'),
        (-math.inf, '{"$float":"-inf"}'),
        (math.nan, '{"$float":"nan"}'),
        (b"\xff\x00", '{"$bytes":"/wA="}'),
        ((1, (2,)), '{"$tuple":[1,{"$tuple":[2]}]}'),
        ({"b", "a", 10, 9}, '{"$set":["a","b",10,9]}'),
        (frozenset({None}), '{"$frozenset":[null]}'),
        ({}, "{}"),
        ({"b": 1, "a": 2}, '{"b":1,"a":2}'),
        ({1: "a", "b": 2}, '{"$dict":[[1,"a"],["b",2]]}'),
        ({"$set": [1]}, '{"$dict":[["$set",[1]]]}'),
        ({"$set": [1], "$": 2}, '{"$set":[1],"$":2}'),
        (date(2026, 1, 31), '{"$date":"2026-01-31"}'),
        (datetime(2026, 1, 31, 12), '{"$datetime":"2026-01-31T12:00:00"}'),
        (datetime(2026, 1, 31, tzinfo=UTC), '{"$datetime":"2026-01-31T00:00:00+00:00"}'),
        (datetime(2026, 1, 31, fold=1), '{"$datetime":["2026-01-31T00:00:00",1]}'),
        (
            datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")),
            '{"$datetime":["2026-07-01T12:00:00+02:00",0,"Europe/Paris"]}',
        ),
        (time(1, 2, 3, 4), '{"$time":"01:02:03.000004"}'),
        (timedelta(microseconds=-1), '{"$timedelta":[-1,86399,999999]}'),
        (
            datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("CET")),
            '{"$datetime":["2026-07-01T12:00:00+02:00",0,"CEST"]}',
        ),
        (zoneinfo.ZoneInfo("Europe/Paris"), '{"$zone":"Europe/Paris"}'),
        (uuid.UUID(int=1), '{"$uuid":"00000000-0000-0000-0000-000000000001"}'),
        (pathlib.Path("a/b"), '{"$path":"a/b"}'),
        (Colour.RED, '"red"'),
        ({Colour.RED: Level.LOW}, '{"red":1}'),
        (Shape.ROUND, '{"$tuple":["r",1]}'),
        (Access.READ | Access.WRITE, "3"),
        (Pydantic(id=uuid.UUID(int=0)), '{"id":{"$uuid":"00000000-0000-0000-0000-000000000000"}}'),
        ({math.nan: 1}, '{"$dict":[[{"$float":"nan"},1]]}'),
        (timezone(timedelta(hours=1)), '{"$timezone":[3600]}'),
        (timezone(timedelta(hours=1), "CET"), '{"$timezone":[3600,"CET"]}'),
        (Decimal("1.10"), '{"$decimal":"1.10"}'),
        (Decimal("sNaN"), '{"$decimal":"sNaN"}'),
        (complex(1, -math.inf), '{"$complex":[1.0,{"$float":"-inf"}]}'),
        (Record("Point", {"x": 1}), '{"$record":["Point",{"x":1}]}'),
        (Record("Odd", {"$set": [1]}), '{"$record":["Odd",{"$dict":[["$set",[1]]]}]}'),
        (record_of("Odd", {"$set": [1]}), '{"$record":["Odd",{"$dict":[["$set",[1]]]}]}'),
        (record_of("Point", {"x": 1}), '{"$named":["Point",{"x":1}]}'),
        (record_of("Empty", {}), '{"$named":["Empty",{}]}'),
    ],
)
def test_the_text(value, text):
    assert encode(value) == text
    assert encode(decode(text)) == text or isinstance(value, Record)


Pair = collections.namedtuple("Pair", "left right")
Renamed = collections.namedtuple("Renamed", "class right", rename=True)


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Moment(datetime):
    pass


@pytest.mark.parametrize(
    ("value", "comes_back"),
    [
        (Pair(1, 2), record_of("Pair", {"left": 1, "right": 2})),
        (Renamed(1, 2), (1, 2)),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (Text("é"), "é"),
        ({Text("a"): Text("b")}, {"a": "b"}),
        (Number(7), 7),
        (Number(2**70), 2**70),
        (Moment(2026, 1, 31), datetime(2026, 1, 31)),
    ],
)
def test_subclasses_come_back_as_their_base(value, comes_back):
    assert canonical(decode(encode(value))) == canonical(comes_back)


@dataclass
class Inner:
    tags: set[str]


@dataclass(slots=True)
class Outer:
    inner: Inner
    late: int = field(init=False)


@dataclass
class Private:
    _secret: int


@dataclass(frozen=True)
class Point:
    x: int


@dataclass(frozen=True)
class Pixel:
    x: int


@dataclass(eq=False)
class Loose:
    x: list[int]


@dataclass(frozen=True)
class Secret:
    _x: int


both_readers = pytest.mark.parametrize("read", [decode, decode_for_sandbox])


@both_readers
def test_a_dataclass_comes_back_as_a_record(read):
    text = encode([Outer(Inner({"a"})), {Point(1): [Pair(Point(2), 3)]}])

    assert text == (
        '[{"$named":["Outer",{"inner":{"$named":["Inner",{"tags":{"$set":["a"]}}]}}]},'
        '{"$dict":[[{"$named":["Point",{"x":1}]},'
        '[{"$named":["Pair",{"left":{"$named":["Point",{"x":2}]},"right":3}]}]]]}]'
    )
    [outer, points] = read(text)
    assert repr(outer.inner).startswith("Inner(tags=")
    assert outer.inner.tags == {"a"}
    [(pair,)] = points.values()
    assert (points[(1,)], pair.left.x, pair.right) == ([pair], 2, 3)


@both_readers
def test_what_no_named_tuple_can_hold_comes_back_as_a_dict(read):
    assert read(encode(Record("P", {"x": (1, Record("Q", {}))}))) == {"x": (1, {})}
    assert read(encode(Record("P", {"$set": [1]}))) == {"$set": [1]}
    assert encode(Private(1)) == '{"$record":["Private",{"_secret":1}]}'
    assert read(encode(Private(1))) == {"_secret": 1}


@both_readers
def test_a_record_that_was_stored_before_they_were_named_tuples_stays_a_dict(read):
    assert read('{"$record":["Order",{"total":5}]}') == {"total": 5}


def test_a_record_is_a_named_tuple():
    order = record_of("Order", {"number": 7, "total": Decimal(5)})
    number, total = order

    assert (number, total) == (order.number, order.total) == order == (7, Decimal(5))
    assert order._asdict() == {"number": 7, "total": 5}
    assert order._replace(total=1) == record_of("Order", {"number": 7, "total": 1})
    assert order._fields == ("number", "total")
    match order:
        case object(number=7, total=Decimal(real=seen)):
            assert seen == 5
    for again in (copy.copy(order), copy.deepcopy(order), pickle.loads(pickle.dumps(order))):
        assert (again, type(again)) == (order, type(order))
    with pytest.raises(TypeError) as caught:
        order._replace(price=1)
    assert str(caught.value) == "Got unexpected field names: ['price']"
    with pytest.raises(AttributeError):
        order.total = 1


def test_services_get_an_object_for_a_record():
    value = [Outer(Inner([Pair(1, (Point(2),))])), {"$named": [1]}]
    text = encode(value)

    plain = {"inner": {"tags": [{"left": 1, "right": ({"x": 2},)}]}}
    assert as_dicts(decode(text)) == [plain, {"$named": [1]}]
    assert load_with_objects(text) == [
        {"inner": {"tags": [{"left": 1, "right": {"$tuple": [{"x": 2}]}}]}},
        {"$dict": [["$named", [1]]]},
    ]


@pytest.mark.parametrize(
    ("text", "other", "alike"),
    [
        ('{"$tuple":[1]}', '{"$named":["P",{"x":1}]}', True),
        ('{"$record":["P",{"x":1}]}', '{"$named":["P",{"x":1}]}', True),
        ('{"$record":["P",{"x":2}]}', '{"$named":["P",{"x":1}]}', False),
        ('{"$record":["P",{"$dict":[["$x",1]]}]}', '{"$named":["P",{"x":1}]}', False),
        ('{"$tuple":[1]}', '{"$record":["P",{"x":1}]}', False),
        ('{"$set":[{"$tuple":[1]},{"$tuple":[2]}]}',
         '{"$set":[{"$named":["P",{"x":2}]},{"$named":["Q",{"x":1}]}]}', True),
        ('{"$named":[],"x":1}', '{"$named":[],"x":2}', False),
        ('{"$named":["P",{"x":1}]}', '{"$named":["P",{"x":true}]}', False),
        ("[1]", "[1]", True),
        ("[1]", "[2]", False),
    ],
)  # fmt: skip
def test_what_is_alike_when_records_were_stored_otherwise(text, other, alike):
    assert are_alike(text, other) is alike


def test_a_zone_whose_name_has_no_slash_comes_back_as_its_offset():
    winter = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("CET"))

    back = decode(encode(winter))

    assert (back.utcoffset(), back.tzname(), back.fold) == (timedelta(hours=1), "CET", 1)
    assert back.tzinfo == timezone(timedelta(hours=1))
    assert decode(encode(datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC")))).tzinfo is UTC


def test_a_moment_that_the_sandbox_moved_over_the_change_of_clocks_stays_that_moment():
    paris = zoneinfo.ZoneInfo("Europe/Paris")
    winter = decode_for_sandbox(encode(datetime(2026, 1, 1, 12, tzinfo=paris)))
    moved = winter + timedelta(days=181)  # the sandbox knows the offset alone
    assert moved.isoformat() == "2026-07-01T12:00:00+01:00"

    back = decode(encode(moved))

    assert (back, back.tzinfo) == (moved, paris)
    assert back.isoformat() == "2026-07-01T13:00:00+02:00"


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_that_its_zone_cannot_show_keeps_its_offset(text):
    stored = f'{{"$datetime":["{text}",0,"Europe/Paris"]}}'

    assert decode(stored).isoformat() == text


@pytest.mark.parametrize(
    ("value", "in_the_sandbox"),
    [
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.Path("a/b"), pathlib.PurePosixPath("a/b")),
        (zoneinfo.ZoneInfo("Europe/Paris"), "Europe/Paris"),
        (
            datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")),
            datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=1), "Europe/Paris")),
        ),
    ],
)
def test_what_the_sandbox_has_instead(pool, value, in_the_sandbox):
    seen = run(pool, "x", decode_for_sandbox(encode(value)))

    assert (seen, type(seen)) == (in_the_sandbox, type(in_the_sandbox))
    # Out of it again, a function gets what the text tells.
    if isinstance(value, datetime):
        assert canonical(decode(encode(seen))) == canonical(value)


def test_integers_do_not_depend_on_the_limit_of_digits():
    number = 10**4000 + 1
    text = encode(number)
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        assert encode(number) == text
        assert decode(text) == number
    finally:
        sys.set_int_max_str_digits(before)


# --- what is refused ---

# A file of the zone database: Version 1, with one kind of local time.
PARIS = (
    b"TZif"
    + bytes(16)
    + bytes([0, 0, 0, 0] * 4 + [0, 0, 0, 1, 0, 0, 0, 4])
    + (b"\0\0\x0e\x10\0\0" + b"CET\0")
)


class Model:
    _meta = "as Django's models have it"


class Greedy(dict):
    def items(self):
        raise MemoryError


def generator():
    yield 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"rows": [0, 1, 2, Record("Row", {"id": object()})]},
            "result['rows'][3].id: object cannot be stored; pass plain data.",
        ),
        (
            Pydantic(id=[object()]),
            "result['id'][0]: object cannot be stored; pass plain data.",
        ),
        ({1: {2: [object()]}}, "result[1][2][0]: object cannot be stored; pass plain data."),
        ({(0, ...): 1}, "result.keys()[1]: ellipsis cannot be stored; pass plain data."),
        (
            {"a": {len}},
            f"result['a']{{...}}: {type(len).__name__} cannot be stored; pass its name, "
            "or what it returns.",
        ),
        *(
            (twins, f"{path}: two keys or elements are the same once they are stored.")
            for twins, path in (
                ({float("nan"): 1, float("nan"): 2}, "result"),
                ([{(float("nan"),), (float("nan"),)}], "result[0]"),
                ({Decimal("NaN"): 1, Decimal("NaN"): 2}, "result"),
                ({Twin.A: 1, "a": 2}, "result"),
                ({1: {"a": 1, Twin.A: 2}}, "result[1]"),
                ({Point(1), Pixel(1)}, "result"),
                ({Point(1): 1, (1,): 2}, "result"),
                ({(0, Point(1)), (0, Pixel(True))}, "result"),
            )
        ),
        (Outer(...), "result.inner: ellipsis cannot be stored; pass plain data."),
        ({10**5000: ...}, "result[...]: ellipsis cannot be stored; pass plain data."),
        (
            {"x" * 100: ...},
            "result['xxxxxxxxxxxx...xxxxxxxxxxxxx']: ellipsis cannot be stored; pass plain data.",
        ),
        (
            pathlib.PureWindowsPath("/"),
            f"result: {pathlib.PureWindowsPath.__module__}.PureWindowsPath cannot be stored; "
            "pass str(value).",
        ),
        (
            zoneinfo.ZoneInfo.from_file(io.BytesIO(PARIS)),
            "result: a ZoneInfo without a key cannot be stored; make it of a name.",
        ),
        (bytearray(b"x"), "result: bytearray cannot be stored; pass bytes(value)."),
        (memoryview(b"x"), "result: memoryview cannot be stored; pass bytes(value)."),
        (ValueError("x"), "result: ValueError cannot be stored; pass str(value), or raise it."),
        (generator(), "result: generator cannot be stored; pass list(value)."),
        (range(3), "result: range cannot be stored; pass list(value)."),
        ({}.keys(), "result: dict_keys cannot be stored; pass list(value)."),
        (
            collections.ChainMap(),
            "result: collections.ChainMap cannot be stored; pass dict(value).",
        ),
        (Model(), "result: tests.test_codec.Model cannot be stored; pass its primary key."),
        (
            len,
            "result: builtin_function_or_method cannot be stored; pass its name, or what it "
            "returns.",
        ),
        (
            time(1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")),
            "result: the UTC offset of its zone is not a fixed number of seconds.",
        ),
        (
            timezone(timedelta(microseconds=1)),
            "result: the UTC offset of its zone is not a fixed number of seconds.",
        ),
        (["ab\ud800"], "result[0]: lone surrogate at index 2, which the sandbox refuses."),
        ({"\udfff": 1}, "result.keys(): lone surrogate at index 0, which the sandbox refuses."),
        (
            timezone(timedelta(0), "\ud800"),
            "result: lone surrogate at index 0, which the sandbox refuses.",
        ),
        pytest.param(
            1 << MAX_INT_BITS,
            "result: int of 1,000,001 bits; at most 1,000,000 can be stored.",
            id="large int",
        ),
        (Decimal("1" * 4301), "result: Decimal of 4,301 digits; at most 4,300 can be stored."),
        (
            {Secret(1)},
            "result{...}: comes back as a list, set or dict, which no key or set can hold.",
        ),
        (
            {(0, Secret(1)): 1},
            "result.keys()[1]: comes back as a list, set or dict, which no key or set can hold.",
        ),
        (
            {Loose([])},
            "result{...}.x: comes back as a list, set or dict, which no key or set can hold.",
        ),
        ([Pair(1, object())], "result[0].right: object cannot be stored; pass plain data."),
        (Renamed(1, object()), "result[1]: object cannot be stored; pass plain data."),
        (Greedy(a=1), "result: too large for the memory that is left."),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_path(value, message):
    with pytest.raises(UnstorableValue) as caught:
        encode(value, path="result")

    assert str(caught.value) == message


def test_awaitables_are_refused():
    async def workflow(): ...

    coroutine = workflow()
    with pytest.raises(UnstorableValue) as caught:
        encode(coroutine)
    coroutine.close()

    assert (
        str(caught.value) == "value: coroutine cannot be stored; pass what it returns: await it."
    )


def test_the_largest_int():
    largest = (1 << MAX_INT_BITS) - 1

    assert decode(encode([largest, -largest])) == [largest, -largest]


def cyclic_list():
    cycle = [0]
    cycle.append({"a": (cycle,)})
    return cycle


def cyclic_dict():
    cycle = {}
    return {"b": cycle.setdefault("c", [cycle])}


def cyclic_dataclass():
    cycle = Inner(set())
    cycle.tags = [cycle]
    return cycle


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (cyclic_list, "value[1]['a'][0]: a cycle: this is value again."),
        (cyclic_dict, "value['b'][0]['c']: a cycle: this is value['b'] again."),
        (cyclic_dataclass, "value.tags[0]: a cycle: this is value again."),
    ],
)
def test_cycles_are_refused(make, message):
    with pytest.raises(UnstorableValue) as caught:
        encode(make())

    assert str(caught.value) == message


NESTINGS = {
    "list": lambda inner: [inner],
    "tuple": lambda inner: (inner,),
    "dict": lambda inner: {"a": inner},
    "like a tag": lambda inner: {"$set": inner},
    "other keys": lambda inner: {1: inner},
    "frozenset": lambda inner: frozenset([inner]),
    "record": lambda inner: Record("R", {"$a": inner}),
    "dataclass": Inner,
}


def nested(nest, levels):
    value = None
    for _ in range(levels):
        value = nest(value)
    return value


@pytest.mark.parametrize("nest", NESTINGS.values(), ids=NESTINGS)
def test_depth(nest):
    text = encode(nested(nest, MAX_DEPTH))

    assert decode(text) == decode_for_sandbox(text)
    with pytest.raises(UnstorableValue) as caught:
        encode(nested(nest, MAX_DEPTH + 1))
    assert caught.value.why == "nested deeper than 100 levels."
    assert caught.value.path.startswith("value")
    assert len(caught.value.path) <= 200


def test_a_path_that_is_too_long_keeps_its_ends():
    with pytest.raises(UnstorableValue) as caught:
        encode({"first": nested(NESTINGS["list"], MAX_DEPTH)})

    head, tail = caught.value.path.split("...")
    assert head.startswith("value['first'][0][0][0]")
    assert tail.endswith("[0][0][0]")
    assert len(head) + len(tail) == 197


@pytest.mark.parametrize("nest", NESTINGS.values(), ids=NESTINGS)
def test_a_stack_that_is_nearly_full(nest):
    value = nested(nest, MAX_DEPTH)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 60)
    try:
        with pytest.raises(UnstorableValue) as caught:
            encode(value)
    finally:
        sys.setrecursionlimit(before)

    assert caught.value.why == "nested too deep for what is left of the stack."


def test_a_caller_deep_in_the_stack_can_still_encode_and_decode():
    def at_depth(frames):
        if frames > 0:
            return at_depth(frames - 1)
        return [decode(encode(nested(nest, MAX_DEPTH))) for nest in NESTINGS.values()]

    assert len(at_depth(450 - len(inspect.stack(0)))) == len(NESTINGS)


# --- size ---


def test_the_limit_is_in_bytes_of_text():
    assert encode(["é"], max_bytes=10) == '["\\u00e9"]'
    with pytest.raises(UnstorableValue) as caught:
        encode(["é"], path="args", max_bytes=9)

    assert str(caught.value) == "args: 10 bytes as JSON; at most 9 are allowed."


def test_a_large_part_is_refused_without_being_written():
    with pytest.raises(UnstorableValue) as caught:
        encode({"a": ["x" * 5_000]}, max_bytes=1_000)

    assert str(caught.value) == "value: 5,005 bytes or more as JSON; at most 1,000 are allowed."


@pytest.mark.parametrize(
    "double", [lambda x: [x, x], lambda x: {"a": x, "b": x}, lambda x: frozenset([x, (x,)])]
)
def test_a_list_of_the_same_list_twice_and_so_on_ends(double):
    value = ()
    for _ in range(40):
        value = double(value)

    with pytest.raises(
        UnstorableValue, match=r"bytes or more as JSON; at most 50,000 are allowed"
    ):
        encode(value, max_bytes=50_000)
    with pytest.raises(
        UnstorableValue, match=r"bytes or more as JSON; at most 50,000 are allowed"
    ):
        encode({value: 1} if isinstance(value, frozenset) else (value,), max_bytes=50_000)


def test_without_a_limit_there_is_one():
    with pytest.raises(UnstorableValue) as caught:
        encode("x" * MAX_BYTES)

    assert str(caught.value) == "value: 16,777,218 bytes as JSON; at most 16,777,216 are allowed."


# --- corrupt text ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "The stored text cannot be read: Expecting value: line 1 column 1 (char 0)."),
        (
            '{"a":',
            "The stored text cannot be read: Expecting value: line 1 column 6 (char 5).",
        ),
        ("1 2", "The stored text cannot be read: Extra data: line 1 column 2 (char 1)."),
        ("[NaN]", "The stored text has a bare NaN, which is not JSON."),
        ('{"$nope":1}', "The stored text has a wrong tag: {'$nope': 1}."),
        ('[{"$set":"ab"}]', "The stored text has a wrong tag: {'$set': 'ab'}."),
        ('{"$set":[[1]]}', "The stored text has a wrong tag: {'$set': [[1]]}."),
        (
            '{"$set":[{"$decimal":"sNaN"}]}',
            "The stored text has a wrong tag: {'$set': [Decimal('sNaN')]}.",
        ),
        ('{"$dict":[[{},1]]}', "The stored text has a wrong tag: {'$dict': [[{}, 1]]}."),
        ('{"$dict":[[1]]}', "The stored text has a wrong tag: {'$dict': [[1]]}."),
        ('{"$int":5}', "The stored text has a wrong tag: {'$int': 5}."),
        ('{"$int":"1_000"}', "The stored text has a wrong tag: {'$int': '1_000'}."),
        pytest.param(
            '{"$int":"0x%s"}' % ("f" * 250_001),
            "The stored text has a wrong tag: {'$int': '0xffffffffff...fffffffffffff'}.",
            id="long hex",
        ),
        pytest.param(
            '{"$int":"%s"}' % ("9" * 4_301),
            "The stored text has a wrong tag: {'$int': '999999999999...9999999999999'}.",
            id="long int",
        ),
        ('{"$float":"one"}', "The stored text has a wrong tag: {'$float': 'one'}."),
        ('{"$bytes":"*"}', "The stored text has a wrong tag: {'$bytes': '*'}."),
        ('{"$date":"31/1/2026"}', "The stored text has a wrong tag: {'$date': '31/1/2026'}."),
        ('{"$datetime":[]}', "The stored text has a wrong tag: {'$datetime': []}."),
        (
            '{"$time":["01:00",0,"CET"]}',
            "The stored text has a wrong tag: {'$time': ['01:00', 0, 'CET']}.",
        ),
        ('{"$timezone":[86400]}', "The stored text has a wrong tag: {'$timezone': [86400]}."),
        ('{"$timezone":[]}', "The stored text has a wrong tag: {'$timezone': []}."),
        (
            '{"$timedelta":[1e20,0,0]}',
            "The stored text has a wrong tag: {'$timedelta': [1e+20, 0, 0]}.",
        ),
        ('{"$decimal":"ten"}', "The stored text has a wrong tag: {'$decimal': 'ten'}."),
        ('{"$complex":[1]}', "The stored text has a wrong tag: {'$complex': [1]}."),
        ('{"$timedelta":[]}', "The stored text has a wrong tag: {'$timedelta': []}."),
        ('{"$complex":["1","2"]}', "The stored text has a wrong tag: {'$complex': ['1', '2']}."),
        ('{"$named":["P"]}', "The stored text has a wrong tag: {'$named': ['P']}."),
        (
            '{"$named":["P",{"_x":1}]}',
            "The stored text has a wrong tag: {'$named': ['P', {'_x': 1}]}.",
        ),
        (
            '{"$named":["class",{}]}',
            "The stored text has a wrong tag: {'$named': ['class', {}]}.",
        ),
        (
            '{"$named":[7,{"x":1}]}',
            "The stored text has a wrong tag: {'$named': [7, {'x': 1}]}.",
        ),
        (
            '{"$named":["P",[["x",1]]]}',
            "The stored text has a wrong tag: {'$named': ['P', [['x', 1]]]}.",
        ),
        ('{"$record":["P"]}', "The stored text has a wrong tag: {'$record': ['P']}."),
        pytest.param(
            "[" * 100_000,
            "The stored text cannot be read: maximum recursion depth exceeded while decoding a "
            "JSON array from a unicode string.",
            id="deep",
        ),
        (
            None,
            "The stored text cannot be read: first argument must be a string, not NoneType.",
        ),
    ],
)
@pytest.mark.parametrize("read", [decode, decode_for_sandbox])
def test_corrupt_text(read, text, message):
    with pytest.raises(CorruptValue) as caught:
        read(text)

    assert str(caught.value) == message


hostile = st.recursive(
    st.none()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["nan", "1", "0x1", "01:00"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.builds(lambda tag, payload: {tag: payload}, st.sampled_from(TAGS), inner)
        | st.builds(
            lambda tag, payload: {tag: payload}, st.sampled_from(TAGS), st.lists(inner, max_size=3)
        )
    ),
    max_leaves=10,
).map(json.dumps)


@law(200)
@given(hostile | st.text(max_size=20))
def test_hostile_text_is_read_or_refused(text):
    refusals = []
    for read in (decode, decode_for_sandbox):
        try:
            read(text)
        except CorruptValue as refused:
            refusals.append(str(refused))

    assert len(refusals) in (0, 2)
    assert all(refusal.startswith("The stored text ") for refusal in refusals)


# --- the sandbox ---


@pytest.fixture(scope="module")
def pool():
    with pydantic_monty.Monty() as pool:
        yield pool


def run(pool, code, value):
    with pool.checkout() as session:
        return session.feed_run(code, inputs={"x": value})


def without_fold(value):
    """Monty knows no fold of a datetime."""
    match value:
        case datetime():
            return value.replace(fold=0)
        case dict():
            return {without_fold(key): without_fold(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return type(value)(map(without_fold, value))
    return value


@law(100)
@given(values)
def test_the_sandbox_takes_whatever_is_stored_and_gives_it_back(pool, value):
    text = encode(without_fold(value))

    assert encode(run(pool, "x", decode_for_sandbox(text))) == text


def test_the_sandbox_takes_the_extremes(pool):
    extremes = [
        (1 << MAX_INT_BITS) - 1,
        Decimal("9" * 4300),
        [date.min, date.max, datetime.min, datetime.max, timedelta.min, timedelta.max],
        *(decode(encode(nested(nest, MAX_DEPTH - 1))) for nest in NESTINGS.values()),
    ]

    assert run(pool, "x", decode_for_sandbox(encode(extremes))) == extremes


ORDER = """
def order(value):
    if isinstance(value, (set, frozenset, tuple, list)):
        return [order(item) for item in value]
    if isinstance(value, dict):
        return [[order(key), order(item)] for key, item in value.items()]
    return str(value)
order(x)
"""


def order_on_host(value):
    match value:
        case set() | frozenset() | list() | tuple():
            return [order_on_host(item) for item in value]
        case dict():
            return [[order_on_host(key), order_on_host(item)] for key, item in value.items()]
    return str(value)


WORDS = [f"word {number}" for number in range(12)]
SETS = {
    "set": set(WORDS),
    "nested": {
        frozenset(WORDS),
        (1, frozenset(WORDS[:5])),
        "x",
        frozenset({frozenset(WORDS[5:])}),
    },
    frozenset(WORDS): [{"deep": ({frozenset(WORDS)},)}],
}


def test_sets_enter_the_sandbox_in_the_order_of_the_text(pool):
    text = encode(SETS)

    seen = run(pool, ORDER, decode_for_sandbox(text))

    assert seen[0][1] == sorted(WORDS, key=encode)
    assert seen == order_on_host(decode_for_sandbox(text))


def test_sets_keep_their_order_in_processes_with_other_hash_seeds():
    program = f"""
import pydantic_monty
from durable_monty.codec import decode_for_sandbox, encode
text = encode({SETS!r})
with pydantic_monty.Monty() as pool, pool.checkout() as session:
    seen = session.feed_run({ORDER!r}, inputs={{"x": decode_for_sandbox(text)}})
print(text, seen)
print(list(set({WORDS!r})))
"""
    first, second = (
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout.splitlines()
        for seed in "12"
    )

    assert first[0] == second[0]
    assert first[1] != second[1]  # a plain set's order did depend on the seed


# --- text for columns ---


@pytest.mark.parametrize(
    ("text", "limit", "clean"),
    [
        ("as it is: é😀\n", 20, "as it is: é😀\n"),
        ("a\0b\ud800c\udfff", 6, "a\ufffdb\ufffdc\ufffd"),
        ("x" * 12_345, 100, "x" * 73 + " … [cut, 12,345 characters]"),
        ("\0" * 101, 100, "\ufffd" * 76 + " … [cut, 101 characters]"),
        ("too short for the mark", 10, "too short "),
        ("", 0, ""),
        ("x", 0, ""),
    ],
)
def test_clean_text(text, limit, clean):
    assert clean_text(text, limit) == clean


@law(70)
@given(
    st.text(st.characters() | st.sampled_from("\0\ud800\udfff"), max_size=60), st.integers(0, 50)
)
def test_clean_text_fits(text, limit):
    clean = clean_text(text, limit)

    assert len(clean) <= limit
    assert "\0" not in clean
    clean.encode()
