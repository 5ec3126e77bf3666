"""Errors of workflows in real files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from durable_monty.exceptions.executions import InvalidWorkflow


@dataclass(frozen=True, slots=True, order=True)
class WorkflowComplaint:
    """A mistake in the file of a workflow. Lines and columns count from 1, in characters."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class WrongWorkflow(InvalidWorkflow):
    """A function cannot be a workflow; its `complaints` say where, and what to write instead."""

    def __init__(self, name: str, complaints: Iterable[WorkflowComplaint]) -> None:
        self.name, self.complaints = name, tuple(complaints)
        lines = [f"{name}() cannot be a workflow.", *map(str, self.complaints)]
        super().__init__("\n".join(lines))
