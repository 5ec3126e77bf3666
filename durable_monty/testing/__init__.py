"""Tests workflows: `play` runs one in the sandbox, without a database.

Names are imported when they are first used, so that Django's settings are not needed before.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durable_monty.testing.played import Played, PlayedCall, PlayError
    from durable_monty.testing.playing import play

_PLACES = {
    "PlayError": "played",
    "Played": "played",
    "PlayedCall": "played",
    "play": "playing",
}

__all__ = ["PlayError", "Played", "PlayedCall", "play"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
