"""Errors of programs that cannot be started."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from durable_monty.exceptions.base import DurableMontyError

_SHOWN = 20


class InvalidWorkflow(DurableMontyError, ValueError):
    """The source, its functions or its inputs cannot be started.

    `complaints` are those of `OrchestratorService.check`, if the source is the reason.
    """

    complaints: tuple[Any, ...] = ()


class WrongSource(InvalidWorkflow):
    """The source can only fail; its `complaints` say where, and what to write instead."""

    def __init__(self, complaints: Iterable[Any]) -> None:
        self.complaints = tuple(complaints)
        lines = ["The workflow cannot work.", *map(str, self.complaints[:_SHOWN])]
        if len(self.complaints) > _SHOWN:
            lines.append(f"And {len(self.complaints) - _SHOWN} more.")
        super().__init__("\n".join(lines))


class InvalidInputs(InvalidWorkflow):
    """The inputs cannot be variables of that source with those functions."""
