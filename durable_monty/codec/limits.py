from __future__ import annotations

import re
import reprlib
from typing import Any

# Monty 1.4 takes and gives 100,000 levels (1,000 in a key), so Python 3.11's 1,000 frames decide:
# a level takes `encode` up to 4 of them and json, reading, up to 5. 100 leave half to the caller.
MAX_DEPTH = 100
MAX_BYTES = 16 * 2**20  # where the caller names no limit
MAX_INT_BITS = 1_000_000
MAX_DIGITS = 4_300  # of an int in decimal, and of a Decimal: Monty refuses one of 4,301


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
