"""Values on their way between the sandbox and the journal."""

from __future__ import annotations

import re
from typing import Any

from pydantic_monty import ExternalSettledResult, MontyClassProxy

from durable_monty import codec
from durable_monty.exceptions import UnstorableValue
from durable_monty.sandbox.errors import RAISABLE
from durable_monty.sandbox.journal import CANCELLED, Settled

# What the sandbox gives for objects that cannot leave it, as whole strings in JSON text.
_UNAWAITED = re.compile(
    r'"<(?:coroutine external_future\((?P<call_id>\d+)\)'
    r'|coroutine object (?P<coroutine>[^"]+)|gather\(\d+\))>"'
)
_FUNCTION = re.compile(r"\"<function '(?P<name>[^'\"]*)' at 0x[0-9a-f]+>\"")
_HOLDERS = (list, tuple, dict, MontyClassProxy)


class NotAwaited(Exception):
    """A coroutine stood where a value should be; `call_id` if it is that of an outside call."""

    def __init__(self, call_id: int | None, name: str) -> None:
        self.call_id, self.name = call_id, name
        super().__init__(name)


def to_text(value: Any, path: str, max_bytes: int | None) -> str:
    """JSON text of a value from the sandbox. Raises `UnstorableValue` or `NotAwaited`."""
    try:
        text = codec.encode(value, path=path, max_bytes=max_bytes)
    except UnstorableValue:
        text = codec.encode(_with_records(value, {}), path=path, max_bytes=max_bytes)
    if '"<' in text:
        if match := _UNAWAITED.search(text):
            call_id = match["call_id"]
            name = match["coroutine"] or "gather"
            raise NotAwaited(int(call_id) if call_id else None, name)
        if match := _FUNCTION.search(text):
            raise UnstorableValue(path, f"the function {match['name']} cannot leave the workflow")
    return text


def to_sandbox(answer: Settled) -> ExternalSettledResult:
    """What the sandbox is resumed with."""
    if answer.result is not None:
        return {"return_value": codec.decode_for_sandbox(answer.result)}
    if answer.error_type == CANCELLED:
        # As in asyncio: `except Exception` does not stop it, `finally` and `except BaseException`
        # may clean up.
        return {"exc_type": "BaseException", "message": f"Cancelled: {answer.error_message}"}
    raised_as: Any = RAISABLE.get(answer.raised_as or answer.error_type, "RuntimeError")
    return {"exc_type": raised_as, "message": answer.error_message}


def _with_records(value: Any, seen: dict[int, Any], depth: int = 0) -> Any:
    """Instances of sandbox classes as records; the rest as it is.

    `seen`, by id, keeps what is shared shared: sixty rounds of `x = [x, x]` are sixty lists.
    """
    if depth > codec.MAX_DEPTH or type(value) not in _HOLDERS:
        return value  # encode() refuses what is too deep, with the path
    if id(value) not in seen:
        deeper = depth + 1
        if isinstance(value, MontyClassProxy):
            seen[id(value)] = codec.Record(
                value.name, _with_records(value.attributes, seen, deeper)
            )
        elif type(value) is list:
            seen[id(value)] = items = []  # before its items: it may hold itself
            items += [_with_records(item, seen, deeper) for item in value]
        elif type(value) is tuple:
            seen[id(value)] = tuple(_with_records(item, seen, deeper) for item in value)
        else:
            entries: dict[Any, Any] = {}
            seen[id(value)] = entries
            entries |= {key: _with_records(item, seen, deeper) for key, item in value.items()}
    return seen[id(value)]
