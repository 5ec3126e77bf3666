from __future__ import annotations

import re
import reprlib
from typing import Any


def clean_text(text: str, limit: int) -> str:
    """Returns `text` as any database takes it: NUL and lone surrogates become U+FFFD.

    A text over `limit` characters is cut, and ends in a mark with the length it had.
    """
    if len(text) > limit:
        mark = f" … [cut, {len(text):,} characters]"
        text = text[: limit - len(mark)] + mark if len(mark) <= limit else text[:limit]
    return re.sub("[\0\ud800-\udfff]", "\ufffd", text)


def short(value: Any) -> str:
    """Returns an abbreviated `repr` for messages."""
    try:
        return reprlib.repr(value)
    except ValueError:  # an int with more digits than Python will write
        return "..."
