"""Records: named tuples that stand for instances of dataclasses and named tuples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from keyword import iskeyword
from operator import itemgetter
from typing import Any, ClassVar, Self


@dataclass(frozen=True, slots=True)
class Record:
    """An instance of a class that is read as a dict: its attributes cannot name those of a tuple,
    or its class is one of the sandbox."""

    name: str
    attributes: dict[str, Any]


class NamedRecord(tuple[Any, ...]):
    """A named tuple, of a class that is made for its name and fields.

    Its own class, because `collections.namedtuple` takes four times as long to make one.
    """

    __slots__ = ()
    _fields: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        items = zip(self._fields, self, strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in items)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return record_of, (type(self).__name__, self._asdict())

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **values: Any) -> Self:
        if unknown := values.keys() - set(self._fields):
            raise TypeError(f"Got unexpected field names: {sorted(unknown)!r}")
        return type(self)((self._asdict() | values).values())


def record_of(name: str, attributes: Mapping[str, Any]) -> NamedRecord | Record:
    """Returns a named tuple, or a `Record` if one of the names cannot be that of a field."""
    kind = record_type(name, tuple(attributes))
    return Record(name, dict(attributes)) if kind is None else kind(attributes.values())


@lru_cache(maxsize=1024)
def record_type(name: str, fields: tuple[str, ...]) -> type[NamedRecord] | None:
    """Returns the class of records with these fields, or None if a named tuple refuses a name.

    The sandbox gives records back as `collections.namedtuple`, whose rules these are.
    """
    names = (name, *fields)
    if not all(isinstance(each, str) and each.isidentifier() for each in names):
        return None
    if any(map(iskeyword, names)) or any(field.startswith("_") for field in fields):
        return None
    getters = {field: property(itemgetter(index)) for index, field in enumerate(fields)}
    own: dict[str, Any] = {"__slots__": (), "__match_args__": fields, "_fields": fields}
    own["__module__"] = "__main__"  # the sandbox shows any other module with the name
    return type(name, (NamedRecord,), getters | own)


def as_dicts(value: Any) -> Any:
    """Returns a value with a dict in the place of each record, for what does not know them."""
    match value:
        case NamedRecord():
            return as_dicts(value._asdict())
        case dict():
            return {key: as_dicts(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(map(as_dicts, value))
        case _:
            return value


def load_with_objects(text: str) -> Any:
    """Returns the JSON of a stored text with an object in the place of each record."""
    return json.loads(text, object_hook=_as_object)


def are_alike(text: str, other: str) -> bool:
    """Returns whether two stored texts mean the same, if records are taken for plain tuples.

    Texts of before records were named tuples have a tuple or a dict in their place.
    """
    if text == other or "$named" not in text + other:
        return text == other
    first, second = (json.loads(each, object_hook=_as_tuple) for each in (text, other))
    return json.dumps(first) == json.dumps(second)  # of values, 1 and true are equal


def _as_tuple(found: dict[str, Any]) -> Any:
    if len(found) != 1:
        return found
    [(tag, payload)] = found.items()
    if tag in ("$named", "$record") and "$dict" not in payload[1]:
        return {"$tuple": list(payload[1].values())}
    return {tag: sorted(payload, key=json.dumps)} if tag in ("$set", "$frozenset") else found


def _as_object(found: dict[str, Any]) -> Any:
    return found["$named"][1] if len(found) == 1 and "$named" in found else found
