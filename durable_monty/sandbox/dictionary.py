"""What all snapshots of a program have in common: they are stored as their difference from it."""

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

# The window of deflate: what lies further back is not looked at.
_MOST = 32 * 1024
_MOST_ITEMS = 16
_EMPTIED = (bool, int, float, str, bytes, complex, Decimal, timedelta, time, set, frozenset)
# Whole strings of the source. From each quote on, as one may end where another begins.
_WORD = re.compile(r"""(?=["'](\w{1,64})["'])""")


@lru_cache(maxsize=256)
def dictionary_of(
    source: str, functions: tuple[tuple[str, str], ...], inputs: str, limits: Limits
) -> bytes | None:
    """The dump of a first turn with inputs of the same shape that say nothing; None if that turn
    does not wait for anything.

    A dump of a real run would hand its inputs to whoever can read the program: of a dict, only
    the keys that stand in the source are kept.
    """
    given = codec.decode(inputs)
    words = set(_WORD.findall(source))
    shape = codec.encode({name: _emptied(value, words) for name, value in given.items()})
    workflow = Workflow(source, dict(functions), shape, seed="")
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
    """A value that says nothing but what `words`, those of the source, say already."""
    match value:
        case dict():
            return {key: _emptied(item, words) for key, item in value.items() if key in words}
        case list() | tuple():
            most = 1 if isinstance(value, list) else _MOST_ITEMS  # a tuple may be unpacked
            return type(value)(_emptied(item, words) for item in value[:most])
        case datetime():
            return datetime(2000, 1, 1, tzinfo=UTC if value.tzinfo else None)
        case date():
            return date(2000, 1, 1)
        case _ if type(value) in _EMPTIED:
            return type(value)()
        case _:
            return None
