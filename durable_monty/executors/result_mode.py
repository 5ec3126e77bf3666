"""Checks the arguments and reads the tracebacks of jobs that run without Django."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from durable_monty.exceptions import NonRetryable

_BEGINNING = "Traceback (most recent call last):\n"
# Chained exceptions come before the last one.
_CHAINED = re.compile(
    r"\n\n(?:During handling of the above exception, another exception occurred|"
    r"The above exception was the direct cause of the following exception):\n\n"
    r"(?=Traceback \(most recent call last\):\n)"
)
_NAME = re.compile(r"[^\W\d][\w.]*(?=:|$)")


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


class Described(NamedTuple):
    """The exception of a traceback. `error_type` has its module, unless it is a builtin."""

    error_type: str
    message: str


def describe_traceback(text: str) -> Described | None:
    """Returns the last exception in a text of `traceback.format_exception`; None if the text is
    not a traceback."""
    last = _CHAINED.split(text)[-1]
    if not last.startswith(_BEGINNING):
        return None
    lines = last.rstrip("\n").split("\n")[1:]
    # Frames and their lines of code are indented, the exception is not.
    first = next((n for n, line in enumerate(lines) if line and not line[0].isspace()), None)
    if first is None or (name := _NAME.match(lines[first])) is None:
        return None
    message = "\n".join([lines[first][name.end() :].removeprefix(":"), *lines[first + 1 :]])
    return Described(name.group().removeprefix("builtins."), message.removeprefix(" "))
