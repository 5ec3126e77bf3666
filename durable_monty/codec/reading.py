from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from durable_monty.codec.limits import MAX_DIGITS, MAX_INT_BITS, short
from durable_monty.codec.records import NamedRecord, record_type
from durable_monty.exceptions import CorruptValue


def decode(text: str) -> Any:
    """Returns the value that `encode` was given. Raises `CorruptValue`."""
    return _for_readers(text)


def decode_for_sandbox(text: str) -> Any:
    """Returns the value as it enters the sandbox. Raises `CorruptValue`.

    A UUID and a zone are their text, a moment has a fixed offset that is named as its zone, and
    sets iterate in the order of the text. Monty keeps the order in which it reads a set, and that
    of a plain one depends on the process's hash seed: a `gather` over it would be replayed in
    another order elsewhere.
    """
    return _for_sandbox(text)


def _read_int(text: str) -> int:
    if not re.fullmatch(_INT_TEXT, text):
        raise ValueError(text)
    return int(text, 16) if "x" in text else int(Decimal(text))


def _read_moment(kind: Any, payload: Any) -> Any:
    text, fold, *name = [payload, 0] if isinstance(payload, str) else payload
    moment = kind.fromisoformat(text).replace(fold=fold)
    return moment.replace(tzinfo=timezone(moment.utcoffset(), *name)) if name else moment


def _read_zoned(payload: Any) -> datetime:
    """Reads a moment, with the zone of the place that its offset is named for.

    In the sandbox it had a fixed offset. If that is not the zone's at that time (the workflow may
    have added months), the moment stays the same and its clock time changes.
    """
    moment: datetime = _read_moment(datetime, payload)
    if isinstance(payload, str) or len(payload) < 3 or payload[2] not in _places():
        return moment
    zoned = moment.replace(tzinfo=ZoneInfo(payload[2]))
    if zoned.utcoffset() == moment.utcoffset():
        return zoned
    try:
        return moment.astimezone(zoned.tzinfo)
    except OverflowError:  # it would be before the year 1, or after 9999
        return moment


@lru_cache(maxsize=1)
def _places() -> frozenset[str]:
    """Returns the names of zones that cannot be the name of an offset, as CET can."""
    return frozenset(name for name in available_timezones() if "/" in name)


class _OrderedSet(set[Any]):
    order: list[Any]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.order)


class _OrderedFrozenSet(frozenset[Any]):
    order: list[Any]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.order)


def _read_ordered(kind: type[_OrderedSet | _OrderedFrozenSet], elements: list[Any]) -> Any:
    ordered = kind(elements)
    ordered.order = list(dict.fromkeys(elements))
    return ordered


def _read_named(payload: list[Any]) -> NamedRecord:
    name, attributes = payload
    kind = record_type(name, tuple(attributes))
    if kind is None:
        raise ValueError(name)
    return kind(attributes.values())


def _decoder(readers: Mapping[str, _Reader]) -> Callable[[str], Any]:
    def untag(found: dict[str, Any]) -> Any:
        if len(found) != 1 or not (tag := next(iter(found))).startswith("$"):
            return found
        payload = found[tag]
        try:
            shape, read = readers[tag]
            if not isinstance(payload, shape):
                raise TypeError(f"{tag} of {type(payload)}")
            return read(payload)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
            raise CorruptValue(f"The stored text has a wrong tag: {short(found)}.") from exc

    def refuse(name: str) -> NoReturn:
        raise CorruptValue(f"The stored text has a bare {name}, which is not JSON.")

    # `decode` of the decoder looks for space around the text, which takes twice as long.
    read_json = json.JSONDecoder(object_hook=untag, parse_constant=refuse).raw_decode

    def decode_text(text: str) -> Any:
        try:
            value, end = read_json(text)
            if end == len(text):
                return value
            raise json.JSONDecodeError("Extra data", text, end)
        except CorruptValue:
            raise
        except (TypeError, ValueError, RecursionError) as exc:
            raise CorruptValue(f"The stored text cannot be read: {exc}.") from exc

    return decode_text


_Reader = tuple[Any, Callable[[Any], Any]]  # type of the payload, payload to value
_INT_TEXT = rf"-?([0-9]{{1,{MAX_DIGITS}}}|0x[0-9a-f]{{1,{MAX_INT_BITS // 4}}})"
_READERS: dict[str, _Reader] = {
    "$int": (str, _read_int),
    "$float": (str, float),
    "$dict": (list, dict),
    "$tuple": (list, tuple),
    "$set": (list, set),
    "$frozenset": (list, frozenset),
    "$named": (list, _read_named),
    "$record": (list, lambda payload: dict(payload[1])),
    "$bytes": (str, partial(b64decode, validate=True)),
    "$decimal": (str, Decimal),
    "$complex": (list, lambda payload: complex(payload[0], payload[1])),
    "$date": (str, date.fromisoformat),
    "$datetime": (str | list, _read_zoned),
    "$time": (str | list, partial(_read_moment, time)),
    "$uuid": (str, UUID),
    "$path": (str, Path),
    "$zone": (str, ZoneInfo),
    "$timedelta": (list, lambda payload: timedelta(payload[0], payload[1], payload[2])),
    "$timezone": (list, lambda payload: timezone(timedelta(seconds=payload[0]), *payload[1:])),
}
_SANDBOX_READERS = _READERS | {
    "$datetime": (str | list, partial(_read_moment, datetime)),
    "$uuid": (str, lambda payload: str(UUID(payload))),
    "$path": (str, PurePosixPath),
    "$zone": (str, lambda payload: ZoneInfo(payload).key),
    "$set": (list, partial(_read_ordered, _OrderedSet)),
    "$frozenset": (list, partial(_read_ordered, _OrderedFrozenSet)),
}
_for_readers = _decoder(_READERS)
_for_sandbox = _decoder(_SANDBOX_READERS)
