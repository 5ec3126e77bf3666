from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from json.encoder import encode_basestring_ascii as _quote
from math import isfinite
from pathlib import PurePath, PurePosixPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from durable_monty.codec.limits import MAX_BYTES, MAX_DEPTH, MAX_DIGITS, MAX_INT_BITS, short
from durable_monty.codec.reading import decode
from durable_monty.codec.records import Record, record_type
from durable_monty.exceptions import UnstorableValue


def encode(value: Any, *, path: str = "value", max_bytes: int | None = None) -> str:
    """Returns `value` as compact ASCII JSON; equal sets give the same text in every process.

    `path` names the root in errors; `max_bytes` limits the text (None: 16 MiB). Raises
    `UnstorableValue` with the path to the offending part.
    """
    walk = _Walk(MAX_BYTES if max_bytes is None else max_bytes)
    try:
        text = walk.write(value)
    except _Refused as refused:
        raise walk.located(path, str(refused)) from None
    except RecursionError:
        raise walk.located(path, "nested too deep for what is left of the stack.") from None
    except MemoryError:
        raise UnstorableValue(path, "too large for the memory that is left.") from None
    if len(text) > walk.limit:
        why = f"{len(text):,} bytes as JSON; at most {walk.limit:,} are allowed."
        raise UnstorableValue(path, why)
    return text


class _Refused(Exception):
    """The value that the walk has reached cannot be stored."""


class _Walk:
    """One pass over a value. Each method returns a value as JSON text."""

    __slots__ = ("keys", "limit", "size", "trail")

    def __init__(self, limit: int) -> None:
        self.trail: list[list[Any]] = []  # the containers around, each with the place in it
        self.keys = 0  # how many of them are dict keys or elements of sets
        # Monty keeps aliases: 60 times `x = [x, x]` comes out as 60 lists, in JSON they are 2**60.
        # So the walk counts what it must at least write, and ends when that is over the limit.
        self.limit, self.size = limit, 0

    def write(self, value: Any) -> str:
        if value is None:
            return "null"
        writer = _WRITERS.get(type(value)) or _writer_of_base(value)
        return writer(self, value)

    def string(self, value: str) -> str:
        self.spend(len(value))
        if not value.isascii() and (lone := re.search("[\ud800-\udfff]", value)):
            raise _Refused(f"lone surrogate at index {lone.start()}, which the sandbox refuses.")
        return _quote(value)

    def integer(self, value: int) -> str:
        if -(2**63) < value < 2**63:
            return int.__repr__(value)
        if (bits := value.bit_length()) > MAX_INT_BITS:
            raise _Refused(f"int of {bits:,} bits; at most {MAX_INT_BITS:,} can be stored.")
        # By way of Decimal, which a lowered sys.set_int_max_str_digits() does not concern.
        digits = str(Decimal(value)) if abs(value) < _HEX_FROM else hex(value)
        return f'{{"$int":{self.string(digits)}}}'

    def real(self, value: float) -> str:
        text = float.__repr__(value)
        return text if isfinite(value) else f'{{"$float":"{text}"}}'

    def decimal(self, value: Decimal) -> str:
        if (digits := len(value.as_tuple().digits)) > MAX_DIGITS:
            raise _Refused(f"Decimal of {digits:,} digits; at most {MAX_DIGITS:,} can be stored.")
        return self.string(Decimal.__str__(value))

    def moment(self, text: str, value: datetime | time) -> str:
        if isinstance(value.tzinfo, ZoneInfo) and "/" in (key := value.tzinfo.key or ""):
            name = self.zone(value.utcoffset(), key)[1:]
        else:
            name = [] if value.tzinfo is None else self.zone(value.utcoffset(), value.tzname())[1:]
        text = f'"{text}"'
        return f"[{','.join([text, str(value.fold), *name])}]" if name or value.fold else text

    def zone(self, offset: timedelta | None, name: str | None) -> list[str]:
        if offset is None or offset.microseconds:
            raise _Refused("the UTC offset of its zone is not a fixed number of seconds.")
        seconds = str(offset // timedelta(seconds=1))
        if name is None or name == timezone(offset).tzname(None):
            return [seconds]
        return [seconds, self.string(name)]

    def zone_key(self, value: ZoneInfo) -> str:
        if value.key is None:
            raise _Refused("a ZoneInfo without a key cannot be stored; make it of a name.")
        return self.string(value.key)

    def sequence(self, value: Collection[Any]) -> str:
        here = self.enter(value, len(value))
        items = []
        for index, item in enumerate(value):
            here[1] = index
            items.append(self.write(item))
        self.trail.pop()
        return f"[{','.join(items)}]"

    def elements(self, value: Collection[Any]) -> str:
        self.enter(value, len(value))
        self.keys += 1
        items = sorted([self.write(item) for item in value])
        self.keys -= 1
        self.trail.pop()
        self.refuse_twins(items)
        return f"[{','.join(items)}]"

    def members(self, mapping: Mapping[Any, Any], owner: Any = None) -> str:
        here = self.enter(mapping if owner is None else owner, len(mapping))
        pairs: list[tuple[str, str]] = []
        only_strings = are_str = True
        for key, item in mapping.items():
            here[1] = _KEYS
            written_key = self.key(key)
            are_str = are_str and type(key) is str
            only_strings = only_strings and written_key[0] == '"'
            here[1] = key
            pairs.append((written_key, self.write(item)))
        self.trail.pop()
        if not are_str:
            self.refuse_twins([key for key, _item in pairs])
        if only_strings and not (len(pairs) == 1 and pairs[0][0].startswith('"$')):
            return f"{{{','.join(map(':'.join, pairs))}}}"
        items = [f"[{key},{item}]" for key, item in pairs]
        return f'{{"$dict":[{",".join(items)}]}}'

    def record(self, value: Any) -> str:
        if isinstance(value, Record):
            return self.tagged_record("$record", value, value.name, value.attributes)
        kind = type(value)
        if isinstance(value, tuple):
            names: Iterable[str] = kind._fields
        else:
            names = [field.name for field in fields(value) if hasattr(value, field.name)]
        if record_type(kind.__name__, tuple(names)) is None:
            if isinstance(value, tuple):
                return f'{{"$tuple":{self.sequence(value)}}}'
            tag = "$record"
        else:
            tag = "$named"
        attributes = {name: getattr(value, name) for name in names}
        return self.tagged_record(tag, value, kind.__name__, attributes)

    def tagged_record(self, tag: str, owner: Any, name: str, attributes: dict[str, Any]) -> str:
        if self.keys and tag == "$record":
            raise _Refused(_NO_KEY)
        return f'{{"{tag}":[{self.write(name)},{self.members(attributes, owner)}]}}'

    def key(self, value: Any) -> str:
        if type(value) is str:
            return self.string(value)
        self.keys += 1
        text = self.write(value)
        self.keys -= 1
        return text

    def refuse_twins(self, keys: list[str]) -> None:
        # NaN is not equal to itself, and an Enum not to its value: as keys they become one. So do
        # instances of two dataclasses with the same values: records are equal as tuples are.
        is_read = any('{"$named":' in key for key in keys)
        if len(set(keys)) < len(keys) or (is_read and len(set(map(decode, keys))) < len(keys)):
            raise _Refused("two keys or elements are the same once they are stored.")

    def enter(self, container: Any, size: int) -> list[Any]:
        if len(self.trail) == MAX_DEPTH:
            raise _Refused(f"nested deeper than {MAX_DEPTH} levels.")
        if self.keys and not (isinstance(container, tuple | frozenset) or is_dataclass(container)):
            raise _Refused(_NO_KEY)
        self.spend(2 * size)
        here = [container, None]
        self.trail.append(here)
        return here

    def spend(self, size: int) -> None:
        self.size += size
        if self.size > self.limit:
            self.trail.clear()  # not this part is too large, but the whole
            why = f"{self.size:,} bytes or more as JSON; at most {self.limit:,} are allowed."
            raise _Refused(why)

    def located(self, path: str, why: str) -> UnstorableValue:
        """Returns the error with the path to the value that the walk has reached."""
        paths: dict[int, str] = {}
        for container, place in self.trail:
            if id(container) in paths:
                return UnstorableValue(path, f"a cycle: this is {paths[id(container)]} again.")
            paths[id(container)] = path
            if place is _KEYS:
                path += ".keys()"
            elif isinstance(container, set | frozenset):
                path += "{...}"
            elif isinstance(container, tuple) and isinstance(place, str):
                path += f".{place}"
            elif isinstance(container, list | tuple | dict):
                path += f"[{short(place)}]"
            else:
                path += f".{place}"
            path = path if len(path) <= 200 else f"{path[:100]}...{path[-97:]}"
        return UnstorableValue(path, why)


def _writer_of_base(value: Any) -> _Writer:
    kind = type(value)
    for base in kind.__mro__:
        if base in _WRITERS:
            is_named = base is tuple and hasattr(kind, "_fields")
            return _Walk.record if is_named else _WRITERS[base]
    if isinstance(value, Enum):
        return lambda walk, member: walk.write(member.value)
    if is_dataclass(kind):
        return _Walk.record
    if callable(getattr(kind, "model_dump", None)):  # a pydantic model
        return lambda walk, model: walk.write(model.model_dump(mode="python"))
    hints = (hint for kinds, hint in _HINTS if isinstance(value, kinds))
    hint = "its primary key" if hasattr(value, "_meta") else next(hints, "plain data")
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    raise _Refused(f"{name} cannot be stored; pass {hint}.")


def _tagged(tag: str, write: _Writer) -> _Writer:
    start = f'{{"{tag}":'
    return lambda walk, value: f"{start}{write(walk, value)}}}"


_Writer = Callable[[_Walk, Any], str]
_KEYS = object()
_NO_KEY = "comes back as a list, set or dict, which no key or set can hold."
_HEX_FROM = 10**MAX_DIGITS
_WRITERS: dict[type, _Writer] = {
    bool: lambda w, v: "true" if v else "false",
    str: _Walk.string,
    int: _Walk.integer,
    float: _Walk.real,
    list: _Walk.sequence,
    dict: _Walk.members,
    tuple: _tagged("$tuple", _Walk.sequence),
    set: _tagged("$set", _Walk.elements),
    frozenset: _tagged("$frozenset", _Walk.elements),
    Record: _Walk.record,
    bytes: _tagged("$bytes", lambda w, v: w.string(b64encode(v).decode())),
    Decimal: _tagged("$decimal", _Walk.decimal),
    complex: _tagged("$complex", lambda w, v: f"[{w.real(v.real)},{w.real(v.imag)}]"),
    date: _tagged("$date", lambda w, v: f'"{date.isoformat(v)}"'),
    datetime: _tagged("$datetime", lambda w, v: w.moment(datetime.isoformat(v), v)),
    time: _tagged("$time", lambda w, v: w.moment(time.isoformat(v), v)),
    timedelta: _tagged("$timedelta", lambda w, v: f"[{v.days},{v.seconds},{v.microseconds}]"),
    UUID: _tagged("$uuid", lambda w, v: f'"{v}"'),
    PurePosixPath: _tagged("$path", lambda w, v: w.string(str(v))),
    ZoneInfo: _tagged("$zone", lambda w, v: w.zone_key(v)),
    timezone: _tagged(
        "$timezone", lambda w, v: f"[{','.join(w.zone(v.utcoffset(None), v.tzname(None)))}]"
    ),
}
_HINTS: tuple[tuple[Any, str], ...] = (
    ((PurePath, tzinfo), "str(value)"),
    ((bytearray, memoryview), "bytes(value)"),
    (BaseException, "str(value), or raise it"),
    (Awaitable, "what it returns: await it"),
    (Mapping, "dict(value)"),
    (Iterable, "list(value)"),
    (Callable, "its name, or what it returns"),
)
