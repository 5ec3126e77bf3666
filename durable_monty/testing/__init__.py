"""Tests workflows: `play` without a database, `Durable` within a test of Django.

Names are imported when they are first used: the pytest plugin of this package is loaded in every
project, also in those without Django's settings.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durable_monty.testing.durable import Durable
    from durable_monty.testing.mixin import DurableMixin
    from durable_monty.testing.played import Played, PlayedCall, PlayError
    from durable_monty.testing.playing import play
    from durable_monty.testing.replaying import replay

_PLACES = {
    "Durable": "durable",
    "DurableMixin": "mixin",
    "PlayError": "played",
    "Played": "played",
    "PlayedCall": "played",
    "play": "playing",
    "replay": "replaying",
}

__all__ = ["Durable", "DurableMixin", "PlayError", "Played", "PlayedCall", "play", "replay"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
