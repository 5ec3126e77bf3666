"""What all snapshots of a program have in common: they are stored as their difference from it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from durable_monty import codec
from durable_monty.exceptions import DurableMontyError
from durable_monty.sandbox.interpreter import Interpreter
from durable_monty.sandbox.journal import Limits, Suspended, Workflow

# The window of deflate: what lies further back is not looked at.
_MOST = 32 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=256)
def dictionary_of(
    source: str, functions: tuple[tuple[str, str], ...], inputs: str, limits: Limits
) -> bytes | None:
    """The dump of a first turn with inputs of the same shape that say nothing; None if that turn
    does not wait for anything.

    A dump of a real run would hand its inputs to whoever can read the program.
    """
    given = codec.decode(inputs)
    shape = codec.encode({name: _emptied(value) for name, value in given.items()})
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


def _emptied(value: Any) -> Any:
    match value:
        case list() | tuple():
            return [_emptied(item) for item in value[:1]]
        case bool() | int() | float() | str():
            return type(value)()
        case _:
            return None
