"""Errors of workers and of their database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from durable_monty.exceptions.base import DurableMontyError


class DatabaseNotMigrated(DurableMontyError):
    def __init__(self, using: str, missing: Iterable[Any]) -> None:
        self.using, self.missing = using, tuple(missing)
        option = "" if using == "default" else f" --database={using}"
        super().__init__(
            f"The database {using!r} is not migrated ({', '.join(map(str, self.missing))}). "
            f"Run: manage.py migrate{option}"
        )


class NoWorkerAlive(DurableMontyError):
    def __init__(self) -> None:
        super().__init__("No worker is alive. Start one with “manage.py runworker”.")
