from __future__ import annotations

from collections.abc import Callable
from typing import Any

Convert = Callable[[Any, str], Any]
"""Returns an instance for a value. The str is the path to the value, for errors."""


class Misfit(Exception):
    """A value cannot become an instance of the class that an annotation names."""

    def __init__(self, path: str, kind: str, why: str) -> None:
        self.path, self.kind, self.why = path, kind, why
        super().__init__(f"{path} does not fit {kind}: {why}")
