"""Reads tracebacks that another process has sent as text."""

from __future__ import annotations

import re
from typing import NamedTuple

_BEGINNING = "Traceback (most recent call last):\n"
# Chained exceptions come before the last one.
_CHAINED = re.compile(
    r"\n\n(?:During handling of the above exception, another exception occurred|"
    r"The above exception was the direct cause of the following exception):\n\n"
    r"(?=Traceback \(most recent call last\):\n)"
)
_NAME = re.compile(r"[^\W\d][\w.]*(?=:|$)")


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
