"""Checks arguments of functions that run without the codec, so that values are JSON alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from durable_monty.exceptions import NonRetryable


def check_plain_json(function: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Checks that JSON can carry the arguments of a call. A tuple passes and arrives as a list.

    Raises `NonRetryable` from a TypeError that names the part.
    """
    found = _misfit(list(args), "args") or _misfit(dict(kwargs), "kwargs")
    if found is not None:
        path, why = found
        raise NonRetryable from TypeError(
            f"{function}() runs where values are JSON, which has no {why} ({path}). Pass a text "
            "or a number instead, or run the function where Django is."
        )


def _misfit(value: Any, path: str) -> tuple[str, str] | None:
    """Returns the path to the first part that JSON cannot carry, and what that part is."""
    if value is None or type(value) in (bool, int, float, str):
        return None
    if type(value) in (list, tuple):
        parts = ((f"{path}[{number}]", item) for number, item in enumerate(value))
    elif type(value) is dict:
        other = next((key for key in value if type(key) is not str), None)
        if other is not None:
            return path, f"key of the type {type(other).__name__}"
        parts = ((f"{path}[{key!r}]", item) for key, item in value.items())
    else:
        return path, type(value).__name__
    return next((found for at, item in parts if (found := _misfit(item, at))), None)
