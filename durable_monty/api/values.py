"""Reads and writes values: tagged JSON of the codec, which keeps types, or plain JSON."""

from __future__ import annotations

import json
from typing import Any, Literal

from django.http import HttpRequest

from durable_monty import codec
from durable_monty.exceptions import CorruptValue, InvalidValue

HEADER = "Durable-Values"
Shape = Literal["tagged", "plain"]


class Values:
    """Converts values. The query names the format, or the header; otherwise it is tagged."""

    def __init__(self, request: HttpRequest, shape: Shape | None) -> None:
        found = shape or request.headers.get(HEADER, "tagged")
        if found not in ("tagged", "plain"):
            raise InvalidValue(HEADER, f"must be “tagged” or “plain”, not {found[:30]!r}")
        self.is_plain = found == "plain"

    def read(self, value: Any, path: str) -> Any:
        """Returns a value of a request. Raises `InvalidValue`."""
        if self.is_plain:
            return value
        try:
            return codec.decode(json.dumps(value))
        except (CorruptValue, RecursionError) as exc:
            raise InvalidValue(path, exc) from exc

    def write(self, text: str | None) -> Any:
        """Returns a stored value for a response."""
        if text is None:
            return None
        return codec.plain(text) if self.is_plain else json.loads(text)
