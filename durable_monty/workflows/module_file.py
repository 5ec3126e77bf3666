"""Reads the file of a module: its statements, and which of them bind which names."""

from __future__ import annotations

import ast
import linecache
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import PurePath
from types import CodeType, FunctionType
from typing import Any

from durable_monty.workflows.scopes import bound_names, dotted_name

Compound = ast.If | ast.Try | ast.With | ast.For | ast.While | ast.Match


@dataclass(slots=True)
class ModuleFile:
    """A parsed file. `file` is its path for people, below the project or site-packages."""

    file: str
    path: str
    text: str
    tree: ast.Module
    # The statements at the top level that bind or change a name, in their order.
    statements: dict[str, list[ast.stmt]] = field(default_factory=lambda: defaultdict(list))
    # The statement that binds or changes a name only in some case: an `if`, a loop, `del`.
    conditional: dict[str, ast.stmt] = field(default_factory=dict)
    for_type_checkers: set[str] = field(default_factory=set)
    has_star_import: bool = False
    lines: list[str] = field(init=False)
    _codes: dict[tuple[str, int], CodeType] | None = None

    def __post_init__(self) -> None:
        self.lines = self.text.split("\n")
        for statement in self.tree.body:
            self._note(statement)

    def column(self, line: int, offset: int) -> int:
        """Returns the column of a UTF-8 byte offset, in characters and from 1."""
        text = self.lines[line - 1]
        return offset + 1 if text.isascii() else len(text.encode()[:offset].decode()) + 1

    def place(self, node: ast.AST) -> tuple[int, int]:
        """Returns line and column of a node, both from 1."""
        line = getattr(node, "lineno", 1)
        return line, self.column(line, getattr(node, "col_offset", 0))

    def function_at(self, name: str, line: int) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """Returns the statement of a function whose code begins at a line."""
        for node in self.tree.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name != name:
                continue
            # The first line of a function's code is that of its first decorator.
            if line == min([node.lineno, *(each.lineno for each in node.decorator_list)]):
                return node
        return None

    def has_changed(self, func: Any) -> bool:
        """Returns whether the file has another function at this place than the process runs.

        It compares names and constants, not the whole code: tools that trace or measure may have
        added instructions of their own.
        """
        if not isinstance(func, FunctionType) or func.__code__.co_filename != self.path:
            return False  # a mock, for example
        spec, running = func.__globals__.get("__spec__"), func.__code__
        if type(getattr(spec, "loader", None)) is not SourceFileLoader:
            return False  # one that rewrites what it imports, as pytest's does
        if self._codes is None:
            codes = _codes_in(compile(self.text, self.path, "exec", dont_inherit=True))
            self._codes = {(code.co_name, code.co_firstlineno): code for code in codes}
        written = self._codes.get((running.co_name, running.co_firstlineno))
        return written is None or not (
            _constants(written) <= _constants(running)
            and {*written.co_names} <= {*running.co_names}
            and written.co_varnames == running.co_varnames
        )

    def _note(self, statement: ast.stmt) -> None:
        match statement:
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                pass
            case ast.If(test=test) if dotted_name(test).rpartition(".")[2] == "TYPE_CHECKING":
                self.for_type_checkers.update(bound_names(statement.body))
                self._note_conditional(statement, statement.orelse)
            case ast.AnnAssign(value=None):
                pass
            case ast.ImportFrom(names=[ast.alias(name="*")]):
                self.has_star_import = True
            case (
                ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Import()
                | ast.ImportFrom() | ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.Expr()
            ):  # fmt: skip
                for name in dict.fromkeys([*bound_names([statement]), *_changed([statement])]):
                    self.statements[name].append(statement)
            case _:
                self._note_conditional(statement, [statement])

    def _note_conditional(self, whole: ast.stmt, parts: Iterable[ast.stmt]) -> None:
        for name in {*bound_names(parts), *_changed(parts)}:
            self.conditional.setdefault(name, whole)


def read_module(path: str, module: str, namespace: dict[str, Any]) -> ModuleFile | None:
    """Returns the parsed file of a module, or None if there is no source that Python can read."""
    linecache.checkcache(path)
    # Line breaks are "\n" and there is no byte order mark, whatever the file has.
    text = "".join(linecache.getlines(path, namespace))
    known = _files.get((path, module))
    if known is not None and known.text == text:
        return known
    try:
        tree = ast.parse(text, path)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not text:
        return None
    # As many parts of the path as the dotted name has: those before differ between machines.
    parts = PurePath(path).parts
    count = len(module.split(".")) + (PurePath(path).stem == "__init__")
    file = _files[path, module] = ModuleFile("/".join(parts[-count:]), path, text, tree)
    return file


_files: dict[tuple[str, str], ModuleFile] = {}


def _changed(statements: Iterable[ast.stmt]) -> Iterator[str]:
    """Yields the names whose value statements change: `PRICES["a"] = 1`, `NAMES.append("b")`.

    A method that is called for its value changes nothing.
    """
    todo: list[ast.AST] = [*statements]
    while todo:
        node = todo.pop()
        match node:
            case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()):
                yield from _root(node)
            case ast.Expr(value=ast.Call(func=ast.Attribute() as func)):
                yield from _root(func)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            todo += ast.iter_child_nodes(node)


def _root(node: ast.expr) -> Iterator[str]:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id


def _constants(code: CodeType) -> set[str]:
    return {repr(each) for each in code.co_consts if not isinstance(each, CodeType)}


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes_in(constant)
