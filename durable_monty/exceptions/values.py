"""Errors of values that cannot be stored or read."""

from __future__ import annotations

from durable_monty.durations import LONGEST_TEXT
from durable_monty.exceptions.base import DurableMontyError


class UnstorableValue(DurableMontyError, ValueError):
    """A value cannot be written to the journal. `path` leads to the offending part."""

    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"{path}: {why}")


class CorruptValue(DurableMontyError, ValueError):
    """Stored text was not written by `codec.encode`, or was damaged since."""


class InvalidDuration(DurableMontyError, ValueError):
    def __init__(self, what: str, value: object) -> None:
        self.what, self.value = what, value
        super().__init__(f"{what} must be from 0 to {LONGEST_TEXT}, not {value!r}.")


class InvalidValue(DurableMontyError, ValueError):
    """A value in a request cannot be decoded. `path` leads to the offending part."""

    def __init__(self, path: str, why: object) -> None:
        self.path, self.why = path, why
        super().__init__(f"{path}: {why}")
