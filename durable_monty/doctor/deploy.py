"""Checks the programs of unfinished executions against the functions that this process has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Count

from durable_monty import codec
from durable_monty.exceptions import HostFault, UnknownFunction
from durable_monty.functions import resolve_functions
from durable_monty.models import Execution, Program
from durable_monty.program_check import check_program
from durable_monty.sandbox import INPUTS, Checker

# A deploy breaks these rules, by other functions or by another version of the sandbox. What
# violates the other rules was wrong before, or may be a false alarm.
BREAKING = frozenset(
    {"invalid-syntax", "unsupported-syntax", "unknown-import", "unavailable", "wrong-arguments"}
)
# These depend on the functions, and may be false alarms.
_OF_FUNCTIONS = frozenset(
    {
        "invalid-argument-type",
        "missing-argument",
        "parameter-already-assigned",
        "too-many-positional-arguments",
        "unknown-argument",
    }
)
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """An "error" if the executions break, a "warning" if they may."""

    severity: str
    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class CheckedProgram:
    """A program, the number of its unfinished executions, and the newest of them.

    `version` is that of a workflow in a file.
    """

    program: str
    name: str
    version: int | None
    executions: int
    examples: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def breaks(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)


def check_programs(using: str) -> Iterator[CheckedProgram]:
    """Checks each program with unfinished executions once; the most used one comes first."""
    unfinished = Execution.objects.using(using).unfinished()
    counts = unfinished.values("program_id").annotate(number=Count("pk")).order_by("-number")
    with Checker() as checker:
        for row in counts:
            program = Program.objects.using(using).get(pk=row["program_id"])
            newest = unfinished.filter(program=program).order_by("-created_at")
            columns = "pk", "name", "inputs", "version__number"
            examples = list(newest.select_related("version").only(*columns)[:_EXAMPLES])
            inputs = examples[0].inputs if examples else "{}"
            yield CheckedProgram(
                program.sha256,
                next((each.name for each in examples if each.name), ""),
                next((each.version_number for each in examples if each.version_id), None),
                row["number"],
                tuple(str(each.pk) for each in examples),
                tuple(_problems(program, inputs, checker)),
            )


def _problems(program: Program, inputs: str, checker: Checker) -> Iterator[Problem]:
    # A function may be listed and never called: only a name in the source can break.
    for name, target in program.functions.items():
        if re.search(rf"\b{re.escape(name)}\b", program.source):
            try:
                resolve_functions([target])
            except UnknownFunction as exc:
                yield Problem("error", "unknown-function", str(exc))
    try:
        names = [INPUTS] if program.entry else codec.decode(inputs)
        complaints = check_program(program.source, program.functions, names, checker)
    except HostFault as exc:
        yield Problem("warning", "not-checked", str(exc))
        return
    for complaint in complaints:
        if complaint.rule in BREAKING | _OF_FUNCTIONS:
            severity = "error" if complaint.rule in BREAKING else "warning"
            yield Problem(severity, complaint.rule, str(complaint))
