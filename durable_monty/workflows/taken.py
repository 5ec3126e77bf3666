"""Follows the names that a workflow uses through its module."""

from __future__ import annotations

import ast
import builtins
from types import FunctionType, ModuleType
from typing import Any

from durable_monty.awaitables import awaited_function
from durable_monty.exceptions import WorkflowComplaint
from durable_monty.sandbox import INPUTS, remedies
from durable_monty.sandbox.source_index import index_source
from durable_monty.workflows import refusals, values
from durable_monty.workflows.blanking import Part
from durable_monty.workflows.entry import Entry
from durable_monty.workflows.global_names import Read, global_names
from durable_monty.workflows.parts import parts_of
from durable_monty.workflows.workflow import Workflow


class Taken:
    """What a workflow takes along from its module."""

    def __init__(self, entry: Entry) -> None:
        self.entry, self.file = entry, entry.file
        self.namespace = entry.func.__globals__
        self.functions: dict[str, str] = {}
        self.complaints: list[WorkflowComplaint] = []
        self._kept: dict[ast.stmt, set[str]] = {}  # each with the names that are needed of it
        self._known: set[str] = set()
        self._missing: list[tuple[Read, str]] = []
        self._written: set[str] = set()
        self._todo: list[tuple[ast.stmt, str]] = []
        self._via = ""  # the helper or constant that is followed; "" for the workflow itself

    def follow(self) -> None:
        """Takes the function, and one after another what it and its helpers use."""
        self._keep(self.entry.node, "")
        while self._todo:
            statement, self._via = self._todo.pop()
            names = global_names(statement, decorators=statement is not self.entry.node)
            self._written |= names.writes
            for read in names.reads:
                self.need(read)
        known = {*self.file.statements, *self.file.conditional}
        for read, via in self._missing:
            if read.name not in self._written:
                self._via = via
                self._complain(read.node, remedies.unknown_name(read.name, known))
        self._via = ""

    def parts(self) -> list[Part]:
        """Returns the parts of the file that stay, in their order."""
        kept = self._kept.items()
        return sorted(part for each, names in kept for part in parts_of(self.file, each, names))

    def refuse_constructs(self, source: str) -> None:
        """Complains about each construct that the sandbox's parser refuses."""
        index = index_source(source)
        if index is None:
            lines = self.file.lines
            found = [
                each for each in self._kept if lines[each.lineno - 1][: each.col_offset].strip()
            ]
            for statement in found or self._kept:
                self._complain(statement, refusals.ONE_A_LINE)
            return
        for (line, column), construct in index.constructs:
            text = remedies.unsupported(construct)
            self.complaints.append(WorkflowComplaint(self.file.file, line, column, text))

    def need(self, read: Read) -> None:
        """Takes a name along, or complains about it where it is read first."""
        name = read.name
        value = self.namespace.get(name)
        key = read.dotted if isinstance(value, ModuleType) else name
        if key in self._known:
            return
        self._known.add(key)
        statements = self.file.statements.get(name, ())
        if name == INPUTS:
            self._complain(read.node, refusals.INPUTS)
        elif name == self.entry.node.name or isinstance(value, Workflow):
            self._complain(read.node, refusals.workflow(name))
        elif values.is_builtin_word(name, value):
            pass
        elif registered := (
            values.registered_name(value) or values.registered_at(name, statements, self.namespace)
        ):
            self.functions[name] = registered
        elif statements and name not in self.file.conditional:
            for statement in statements:
                self.take(statement, read, value)
        elif text := self.reason_of(name):
            self._complain(read.node, text)
        elif not hasattr(builtins, name):
            self._known.discard(name)
            self._missing.append((read, self._via))

    def reason_of(self, name: str) -> str:
        """Returns why no statement at the top level of the module gives this name its value."""
        if name in self.file.conditional:
            return refusals.conditional(name, self.file.conditional[name])
        if name in self.file.for_type_checkers:
            return refusals.for_type_checkers(name)
        if name not in self.namespace:
            return ""
        if name.startswith("__"):
            return refusals.own_attribute(name)
        return refusals.dynamic(name, has_star_import=self.file.has_star_import)

    def take(self, statement: ast.stmt, read: Read, value: Any) -> None:
        name = read.name
        match statement:
            case _ if (function := awaited_function(value)) is not value:
                self._complain(read.node, refusals.unregistered(name, function))
            case ast.Import() | ast.ImportFrom() if not values.is_in_sandbox(statement, name):
                text = refusals.imported(read, value)
                if isinstance(value, ModuleType):
                    function = values.value_of(self.namespace, read.dotted)
                    registered = values.registered_name(function)
                    inner = values.value_of(self.namespace, read.dotted.rpartition(".")[0])
                    value = inner if isinstance(inner, ModuleType) else value
                    text = refusals.module(read, value, registered)
                self._complain(read.node, text)
            case ast.FunctionDef() | ast.AsyncFunctionDef() if statement.decorator_list:
                line = statement.decorator_list[0].lineno
                self._complain(read.node, refusals.decorated_function(name, line))
            case ast.FunctionDef() | ast.AsyncFunctionDef() if self.file.has_changed(value):
                self._complain(read.node, refusals.changed(name))
            case ast.ClassDef() if statement.bases or statement.keywords:
                text = refusals.class_with_bases(read, statement.lineno, value)
                self._complain(read.node, text)
            case ast.ClassDef(decorator_list=[*given]) if not all(
                values.is_dataclass(each, self.namespace) for each in given
            ):
                self._complain(read.node, refusals.decorated_class(name, given[0].lineno))
            case ast.Expr() if isinstance(value, ModuleType | type | FunctionType):
                pass  # it configures something, as `logging.basicConfig()` does
            case _:
                self._keep(statement, name)

    def _keep(self, statement: ast.stmt, name: str) -> None:
        if statement not in self._kept:
            self._kept[statement] = set()
            self._todo.append((statement, name))
        self._kept[statement].add(name)

    def _complain(self, node: ast.AST, message: str) -> None:
        if self._via:
            message += f" {self._via} needs it, which {self.entry.node.name}() uses."
        place = self.file.place(node)
        self.complaints.append(WorkflowComplaint(self.file.file, *place, message))
