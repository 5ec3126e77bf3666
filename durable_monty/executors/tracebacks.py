"""Tracebacks that came as text, from another process."""

from __future__ import annotations

import re
from typing import NamedTuple

_BEGINNING = "Traceback (most recent call last):\n"
# The last exception stands behind those that it was raised from, or that it followed.
_CHAINED = re.compile(
    r"\n\n(?:During handling of the above exception, another exception occurred|"
    r"The above exception was the direct cause of the following exception):\n\n"
    r"(?=Traceback \(most recent call last\):\n)"
)
_NAME = re.compile(r"[^\W\d][\w.]*(?=:|$)")


class Described(NamedTuple):
    """The exception of a traceback: `error_type` has its module, unless it is a builtin."""

    error_type: str
    message: str


def describe_traceback(text: str) -> Described | None:
    """Returns what `traceback.format_exception` wrote of the last exception in `text`; None if
    that is no traceback."""
    last = _CHAINED.split(text)[-1]
    if not last.startswith(_BEGINNING):
        return None
    lines = last.rstrip("\n").split("\n")[1:]
    # Frames, and the lines of code under them, are indented.
    first = next((n for n, line in enumerate(lines) if line and not line[0].isspace()), None)
    if first is None or (name := _NAME.match(lines[first])) is None:
        return None
    message = "\n".join([lines[first][name.end() :].removeprefix(":"), *lines[first + 1 :]])
    return Described(name.group().removeprefix("builtins."), message.removeprefix(" "))
