"""Converts values to JSON text with type tags and back: the only form in which they are stored.

Plain JSON stays plain JSON, so that people can read it. Every other value is an object whose only
key is a tag. A dict that looks like one, or has other keys than str, is written as `$dict`.

    {"$int": "9223372036854775808"}    from 64 bits on; over 4,300 digits "0x..."
    {"$float": "nan"}                  "inf", "-inf"
    {"$complex": [real, imaginary]}    {"$decimal": "1.10"}    {"$bytes": base64}
    {"$tuple": [...]}    {"$set": [...]}    {"$frozenset": [...]}    sets sorted by text
    {"$dict": [[key, value], ...]}
    {"$date": "2026-01-31"}    {"$datetime": "2026-01-31T12:00:00+01:00"}    {"$time": "12:00:00"}
                                       [text, fold, zone name] if there is a fold or a name
    {"$uuid": "..."}    {"$path": "a/b"}    {"$zone": "Europe/Paris"}
    {"$timezone": [seconds, name]}     [seconds] without a name
    {"$timedelta": [days, seconds, microseconds]}
    {"$named": [name, {attribute: value}]}     a dataclass instance or named tuple
    {"$record": [name, {attribute: value}]}    a Record; read as a dict

`decode(encode(v)) == v`, of equal types, with these exceptions. An instance of a dataclass or a
NamedTuple comes back as a `NamedRecord`, which is a named tuple, or as a dict where a field cannot
be that of a named tuple (`_private`). Other subclasses (OrderedDict, SafeString, IntEnum,
TextChoices) come back as their base, another Enum as its value, a pydantic model as the dict of
its `model_dump`, the zone of a moment as its offset if its name has no slash (UTC, CET), and two
references to one list as two lists. In the sandbox a UUID and a zone are texts, and no datetime
has a fold.
"""

from durable_monty.codec.limits import MAX_BYTES, MAX_DEPTH, MAX_INT_BITS, clean_text
from durable_monty.codec.plain import plain, plain_beginning
from durable_monty.codec.reading import decode, decode_for_sandbox
from durable_monty.codec.records import (
    NamedRecord,
    Record,
    are_alike,
    as_dicts,
    load_with_objects,
    record_of,
)
from durable_monty.codec.writing import encode

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_INT_BITS",
    "NamedRecord",
    "Record",
    "are_alike",
    "as_dicts",
    "clean_text",
    "decode",
    "decode_for_sandbox",
    "encode",
    "load_with_objects",
    "plain",
    "plain_beginning",
    "record_of",
]
