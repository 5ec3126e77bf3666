"""Says which parts of a file a statement of a workflow is."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from durable_monty.workflows.blanking import Part
from durable_monty.workflows.module_file import ModuleFile
from durable_monty.workflows.scopes import name_of


def parts_of(file: ModuleFile, statement: ast.stmt, names: set[str]) -> Iterator[Part]:
    """Yields the parts of a statement that stay: all of it, or of an import `names`."""
    start = _start(file, statement)
    end = _offset(file, statement.end_lineno, statement.end_col_offset)
    if not isinstance(statement, ast.Import | ast.ImportFrom):
        if isinstance(statement, ast.ClassDef) and statement.decorator_list:
            line, column = _start(file, statement.decorator_list[0])
            start = line, file.lines[line - 1].rindex("@", 0, column)
        yield Part(*start, *end)
        return
    # The sandbox may lack the names that are not needed.
    yield Part(*start, *_start(file, statement.names[0]))
    kept = [each for each in statement.names if name_of(each) in names]
    for alias in kept:
        line, column = _offset(file, alias.end_lineno, alias.end_col_offset)
        if alias is not kept[-1]:
            while "," not in file.lines[line - 1][column:]:
                line, column = line + 1, 0
            column = file.lines[line - 1].index(",", column) + 1
        yield Part(*_start(file, alias), line, column, begins_statement=False)
    line, column = end
    if file.lines[line - 1][column - 1] == ")":
        yield Part(line, column - 1, line, column, begins_statement=False)
        return
    for line in range(statement.names[0].lineno, kept[-1].lineno):
        column = file.lines[line - 1].rindex("\\")
        yield Part(line, column, line, column + 1, begins_statement=False)


def _start(file: ModuleFile, node: ast.stmt | ast.expr | ast.alias) -> tuple[int, int]:
    return _offset(file, node.lineno, node.col_offset)


def _offset(file: ModuleFile, line: int | None, offset: int | None) -> tuple[int, int]:
    return line or 1, file.column(line or 1, offset or 0) - 1
