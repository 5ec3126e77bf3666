"""The code of executions: as a start gives it, and as the sandbox takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connections

from durable_monty.functions import resolve_functions
from durable_monty.models import Execution, Program, WorkflowVersion
from durable_monty.models.program import identity_of
from durable_monty.operations.sql import table_of
from durable_monty.sandbox import INPUTS, Workflow as SandboxWorkflow
from durable_monty.workflows.workflow import Workflow


@dataclass(frozen=True)
class Code:
    """A source and the functions it may call, in the way that a program has them.

    With a `digest` it is the workflow `name` in a `file`, of which this is one version.
    """

    source: str
    functions: Mapping[str, str]
    entry: str = ""
    name: str = ""
    digest: str = ""
    file: str = ""

    @cached_property
    def sha256(self) -> str:
        """The identity of its program."""
        return identity_of(self.source, self.functions, self.entry)[0]

    def variables(self, inputs: Mapping[str, object]) -> list[str]:
        """Returns the names of the global variables that these inputs become."""
        return [INPUTS] if self.entry else list(inputs)

    def give_to(self, execution: Execution, using: str) -> None:
        """Gives an execution this program and version, and stores them if they are new."""
        if self.digest and (stored := self._find(using)):
            execution.version_id, execution.program_id = stored
            return
        programs, versions = Program.objects.using(using), WorkflowVersion.objects.using(using)
        execution.program = programs.ensure(self.source, self.functions, self.entry)
        if self.digest:
            execution.version = versions.ensure(
                self.name, self.digest, execution.program, self.file
            )

    def _find(self, using: str) -> tuple[int, int] | None:
        """Returns the keys of the version and of the program, if both are stored."""
        connection = connections[using]
        version, program = (table_of(model, connection) for model in (WorkflowVersion, Program))
        with connection.cursor() as cursor:
            # Django takes twice as long to make this statement as SQLite to execute it.
            cursor.execute(
                f"SELECT v.id, p.id FROM {version} v, {program} p "
                "WHERE v.name = %s AND v.digest = %s AND p.sha256 = %s",
                [self.name, self.digest, self.sha256],
            )
            found: tuple[int, int] | None = cursor.fetchone()
        return found


def edited_code(
    program: Program,
    source: str | None,
    functions: Iterable[str | Callable[..., Any]] | None,
) -> Code:
    """Returns the code of a program with another source or other functions.

    Functions that stay keep the names that they have in the source. Source that was edited in
    place still calls its entry; source that does not use `_inputs` has variables instead.
    """
    source = program.source if source is None else source
    entry = program.entry if INPUTS in source else ""
    if functions is None:
        return Code(source, program.functions, entry)
    given = resolve_functions(functions)
    wanted = {*given.values()}
    kept = {name: target for name, target in program.functions.items() if target in wanted}
    new = {name: target for name, target in given.items() if target not in kept.values()}
    return Code(source, new | kept, entry)


def code_of(workflow: Workflow[..., Any]) -> Code:
    """Returns the code of a workflow in a file. Raises `WrongWorkflow`."""
    code = _codes.get(workflow)
    if code is None:
        closure = workflow.closure
        code = _codes[workflow] = Code(
            closure.source,
            closure.functions,
            closure.entry,
            workflow.name,
            closure.digest,
            closure.file,
        )
    return code


# A start takes this way each time: the hash of a long source is worth keeping.
_codes: WeakKeyDictionary[Workflow[..., Any], Code] = WeakKeyDictionary()


def workflow_of(execution: Execution) -> SandboxWorkflow:
    """Returns the source of an execution with its inputs and seed."""
    program = execution.program
    return SandboxWorkflow(
        program.source, program.functions, execution.inputs, execution.seed, program.entry
    )
