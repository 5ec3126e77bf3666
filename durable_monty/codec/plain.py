"""Shows stored values as people read them: JSON without the codec's tags."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

# Tags with a text, for JSON that was cut and cannot be read as a whole.
_TEXTS = re.compile(r'\{"\$[a-z0-9]+":("(?:[^"\\]|\\.)*")\}')


def plain(text: str) -> Any:
    """Returns the JSON value of stored text, which cannot be decoded again.

    A Decimal, a moment or a UUID is a text, a tuple or a set is a list, an instance is a dict.
    Raises ValueError and RecursionError, as `json.loads` does.
    """
    return json.loads(text, object_hook=_untagged)


def plain_beginning(text: str) -> str:
    """Returns stored text whose end may be missing without its tags; it stays a text."""
    return _TEXTS.sub(r"\1", text)


def _untagged(found: dict[str, Any]) -> Any:
    if len(found) != 1:
        return found
    [(tag, payload)] = found.items()
    try:
        return _SHOWN[tag](payload)
    except (KeyError, LookupError, TypeError, ValueError, OverflowError):
        return found


def _dict(pairs: list[Any]) -> Any:
    shown = {key if isinstance(key, str) else json.dumps(key): item for key, item in pairs}
    return shown if len(shown) == len(pairs) else pairs


def _moment(payload: Any) -> str:
    if isinstance(payload, str):
        return payload
    text, _fold, *name = payload
    return " ".join([text, *name])


def _offset(payload: list[Any]) -> str:
    seconds, *name = payload
    sign = "-" if seconds < 0 else "+"
    return "".join(name) or f"UTC{sign}{timedelta(seconds=abs(seconds))}"


_SHOWN: Mapping[str, Callable[[Any], Any]] = {
    "$int": lambda digits: int(digits, 0) if len(digits) < 4_000 else digits,
    **dict.fromkeys(("$float", "$decimal", "$bytes", "$date", "$uuid", "$path", "$zone"), str),
    **dict.fromkeys(("$tuple", "$set", "$frozenset"), list),
    "$complex": lambda parts: str(complex(parts[0], parts[1])),
    "$dict": _dict,
    **dict.fromkeys(("$named", "$record"), lambda record: dict(record[1])),
    "$datetime": _moment,
    "$time": _moment,
    "$timedelta": lambda parts: str(timedelta(*parts)),
    "$timezone": _offset,
}
