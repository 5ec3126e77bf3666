"""Answers the clocks of a workflow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic_monty import FunctionSnapshot

CLOCKS = ("datetime.now", "date.today", "time.time")

Clock = Callable[[], datetime]


def answer_clock(snapshot: FunctionSnapshot, now: datetime) -> Any:
    """Returns the value of a clock call at `now`, an aware time."""
    match snapshot.function_name:
        case "date.today":
            return now.astimezone(UTC).date()
        case "time.time":  # every clock of the time module; epoch seconds
            return now.timestamp()
        case _:
            zone = snapshot.args[0] if snapshot.args else None
            there = now.astimezone(UTC if zone is None else zone)
            return there.replace(tzinfo=None) if zone is None else there
