"""Makes the dictionary of a program: its snapshots are stored as differences from it."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from durable_monty import codec
from durable_monty.exceptions import DurableMontyError
from durable_monty.sandbox.interpreter import Interpreter
from durable_monty.sandbox.types import Limits, Suspended, Workflow

# The window of deflate, which does not reach further back.
_MOST = 32 * 1024
_MOST_ITEMS = 16
_EMPTIED = (bool, int, float, str, bytes, complex, Decimal, timedelta, time, set, frozenset)
# Whole strings of the source, from each quote on: one may end where another begins.
_WORD = re.compile(r"""(?=["']([^"'\\\n]{1,64})["'])""")


@lru_cache(maxsize=256)
def dictionary_of(
    source: str,
    functions: tuple[tuple[str, str], ...],
    inputs: str,
    limits: Limits,
    entry: str = "",
) -> bytes | None:
    """Returns the dump of a first turn, run on empty inputs of the same shape.

    Returns None if that turn does not wait for anything. A dump of a real run would show its
    inputs to whoever can read the program; this one keeps only the keys of dicts that stand in the
    source.
    """
    given = codec.decode(inputs)
    words = set(_WORD.findall(source))
    shape = codec.encode({name: _emptied(value, words) for name, value in given.items()})
    workflow = Workflow(source, dict(functions), shape, seed="", entry=entry)
    try:
        with Interpreter(
            workflow, limits, lambda: datetime(2000, 1, 1, tzinfo=UTC)
        ) as interpreter:
            turn = interpreter.start()
            if not isinstance(turn.outcome, Suspended):
                return None
            dump = interpreter.dump()
    except DurableMontyError:
        return None
    return dump if len(dump) <= _MOST else None


def _emptied(value: Any, words: Collection[str]) -> Any:
    """Returns a value of the same shape without content; dicts keep the keys among `words`."""
    match value:
        case dict():
            return {key: _emptied(item, words) for key, item in value.items() if key in words}
        case list() | tuple():
            most = 1 if isinstance(value, list) else _MOST_ITEMS  # a tuple may be unpacked
            is_record = isinstance(value, codec.NamedRecord)
            kept = value if is_record else value[:most]
            return type(value)(_emptied(item, words) for item in kept)
        case datetime():
            return datetime(2000, 1, 1, tzinfo=UTC if value.tzinfo else None)
        case date():
            return date(2000, 1, 1)
        case _ if type(value) in _EMPTIED:
            return type(value)()
        case _:
            return None
