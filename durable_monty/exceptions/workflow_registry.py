"""Errors of the names of workflows."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from durable_monty.exceptions.base import DurableMontyError

_SHOWN = 20


class DuplicateWorkflow(DurableMontyError):
    def __init__(self, name: str, first: str, second: str) -> None:
        self.name, self.first, self.second = name, first, second
        super().__init__(
            f"Two workflows have the name {name!r}: {first} and {second}. "
            "Give one of them another name: @workflow(name='...')."
        )


class UnknownWorkflow(DurableMontyError, LookupError):
    """No `@workflow` that this process has imported has the name."""

    def __init__(self, name: str, known: Iterable[str], searched: str) -> None:
        self.name, self.known, self.searched = name, tuple(sorted(known)), searched
        names = self.known
        close = get_close_matches(name, names, 1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        listed = ", ".join(names[:_SHOWN]) or "none"
        if len(names) > _SHOWN:
            listed += f" and {len(names) - _SHOWN:,} more"
        super().__init__(
            f"There is no workflow {name!r}. {hint}Workflows are found in {searched}. "
            f"Known: {listed}."
        )
