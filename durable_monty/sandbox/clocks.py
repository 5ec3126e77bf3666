"""What the clocks of a workflow show."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic_monty import FunctionSnapshot

CLOCKS = ("datetime.now", "date.today", "time.time")

Clock = Callable[[], datetime]


def answer_clock(snapshot: FunctionSnapshot, now: datetime) -> Any:
    """The answer to a call of one of them."""
    match snapshot.function_name:
        case "date.today":
            return now.astimezone(UTC).date()
        case "time.time":  # every clock of the time module; epoch seconds
            return now.timestamp()
        case _:
            zone = snapshot.args[0] if snapshot.args else None
            return (
                now.astimezone(UTC).replace(tzinfo=None) if zone is None else now.astimezone(zone)
            )
