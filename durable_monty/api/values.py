"""Values in requests and answers: the codec's JSON, whose tags keep types, or plain JSON."""

from __future__ import annotations

import json
from typing import Any, Literal

from django.http import HttpRequest

from durable_monty import codec
from durable_monty.exceptions import CorruptValue, InvalidValue

HEADER = "Durable-Values"
Shape = Literal["tagged", "plain"]


class Values:
    """`Values(request, shape)`: as the query asks, else as the header does, else tagged."""

    def __init__(self, request: HttpRequest, shape: Shape | None) -> None:
        found = shape or request.headers.get(HEADER, "tagged")
        if found not in ("tagged", "plain"):
            raise InvalidValue(HEADER, f"must be “tagged” or “plain”, not {found[:30]!r}")
        self.is_plain = found == "plain"

    def read(self, value: Any, path: str) -> Any:
        """A value of a request. Raises `InvalidValue`."""
        if self.is_plain:
            return value
        try:
            return codec.decode(json.dumps(value))
        except (CorruptValue, RecursionError) as exc:
            raise InvalidValue(path, exc) from exc

    def write(self, text: str | None) -> Any:
        """A stored value, for an answer."""
        if text is None:
            return None
        return codec.plain(text) if self.is_plain else json.loads(text)
