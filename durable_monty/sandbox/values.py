"""Converts values between the sandbox and the journal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic_monty import ExternalSettledResult, MontyClassProxy

from durable_monty import codec
from durable_monty.exceptions import UnstorableValue
from durable_monty.sandbox.error_types import RAISABLE
from durable_monty.sandbox.types import CANCELLED, CallRequest, Settled

# The texts that the sandbox gives for objects that cannot leave it, as whole strings of a JSON
# text. Users' strings may be the same.
_OBJECT = re.compile(
    r"""(?<!\\)"<(?:coroutine external_future\((?P<call>0|[1-9][0-9]{0,8})\)"""
    r"""|coroutine object (?P<coroutine>[^"<>]+)|(?P<gather>gather)\([0-9]+\)"""
    r"""|function '(?P<function>[^"']*)' at 0x[0-9a-f]+)>\""""
)
_HOLDERS = (list, tuple, dict, MontyClassProxy)


class NotAwaited(Exception):
    """A coroutine or a gather stood where a value should be. `call`: its call, if known."""

    def __init__(self, name: str, call: CallRequest | None = None) -> None:
        self.name, self.call = name, call
        super().__init__(name)


def to_text(value: Any, path: str, max_bytes: int | None) -> str:
    """Returns the JSON text of a value from the sandbox. Raises `UnstorableValue`."""
    try:
        return codec.encode(value, path=path, max_bytes=max_bytes)
    except UnstorableValue:
        seen: dict[int, Any] = {}
        replaced: list[Any] = []
        value = _with_records(value, seen, replaced)
        if not replaced:
            raise  # a second walk as long as the first would find the same
        return codec.encode(value, path=path, max_bytes=max_bytes)


def objects_in(text: str) -> Iterator[tuple[str, str]]:
    """Yields kind and name of what may be objects of the sandbox in the JSON text of a value.

    The kind is `call`, `coroutine`, `gather` or `function`; the name of a call is its id.
    """
    if '"<' in text:
        for match in _OBJECT.finditer(text):
            kind = match.lastgroup or ""
            yield kind, json.loads(f'"{match[kind]}"')


def to_sandbox(answer: Settled) -> ExternalSettledResult:
    """Returns what the sandbox is resumed with."""
    if answer.result is not None:
        return {"return_value": codec.decode_for_sandbox(answer.result)}
    if answer.error_type == CANCELLED:
        # As in asyncio: `except Exception` does not stop it, `finally` and `except BaseException`
        # may clean up.
        return {"exc_type": "BaseException", "message": f"Cancelled: {answer.error_message}"}
    raised_as: Any = RAISABLE.get(answer.raised_as or answer.error_type, "RuntimeError")
    return {"exc_type": raised_as, "message": answer.error_message}


def _with_records(value: Any, seen: dict[int, Any], replaced: list[Any], depth: int = 0) -> Any:
    """Replaces the instances of sandbox classes by records, and notes them in `replaced`.

    `seen`, by id, keeps shared values shared: sixty rounds of `x = [x, x]` are sixty lists.
    """
    if depth > codec.MAX_DEPTH or not isinstance(value, _HOLDERS):
        return value  # encode() refuses what is too deep, with the path
    if id(value) not in seen:

        def inner(item: Any) -> Any:
            return _with_records(item, seen, replaced, depth + 1)

        if isinstance(value, MontyClassProxy):
            make = codec.record_of if value.is_dataclass else codec.Record
            seen[id(value)] = make(value.name, inner(value.attributes))
            replaced.append(value)
        elif isinstance(value, list):
            items: list[Any] = []
            seen[id(value)] = items  # before its items: it may hold itself
            items += map(inner, value)
        elif isinstance(value, tuple):
            make_tuple = getattr(type(value), "_make", tuple)
            seen[id(value)] = make_tuple(map(inner, value))
        else:
            entries: dict[Any, Any] = {}
            seen[id(value)] = entries
            entries |= {key: inner(item) for key, item in value.items()}
    return seen[id(value)]
