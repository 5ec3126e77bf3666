"""Makes and reads cursors: signed texts that say where the next page of a list begins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django.core import signing
from django.core.serializers.json import DjangoJSONEncoder

from durable_monty.exceptions import InvalidCursor, WrongCursor

_SALT = "durable_monty.api.cursor"


def make_cursor(place: str | int, name: str, filters: Mapping[str, Any]) -> str:
    """Returns a cursor for the page after `place` of the list with this name and filters."""
    return signing.dumps([_digest(name, filters), place], salt=_SALT)


def read_cursor(cursor: str, name: str, filters: Mapping[str, Any]) -> Any:
    """Returns the place in a cursor. Raises `InvalidCursor` and `WrongCursor`."""
    try:
        digest, place = signing.loads(cursor, salt=_SALT)
    except (signing.BadSignature, UnicodeError) as exc:
        raise InvalidCursor from exc
    # With other filters the place would skip rows without a word.
    if digest != _digest(name, filters):
        raise WrongCursor
    return place


def _digest(name: str, filters: Mapping[str, Any]) -> str:
    text = json.dumps([name, filters], cls=DjangoJSONEncoder, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
