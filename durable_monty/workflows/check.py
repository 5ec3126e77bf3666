"""Checks the closure of a workflow before anything starts it."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Iterator
from contextlib import nullcontext, suppress
from typing import Any

from durable_monty.program_check import check_program
from durable_monty.sandbox import SYNTAX, Checker, Complaint
from durable_monty.sandbox.complaints import NOT_AWAITED
from durable_monty.sandbox.type_check import UNSUPPORTED
from durable_monty.stubs import guarded_names
from durable_monty.workflows.closure import Closure
from durable_monty.workflows.global_names import global_names
from durable_monty.workflows.scopes import bound_names

_MOST = 20


def check_closure(closure: Closure, checker: Checker | None = None) -> list[Complaint]:
    """Returns all complaints about a closure, sorted by place; the places are those of its file.

    They are those of `check_program`, and the definitions that fail when they run: the type
    checker knows another Python, which has `dataclass(slots=True)`. An open `checker` serves many
    closures. Raises `HostFault`.
    """
    definitions = closure.source[: closure.source.rindex("\n")]
    with nullcontext(checker) if checker is not None else Checker() as opened:
        # The classes of annotations stay behind, and the type checker is told what they stand for.
        unknown = annotated_names(ast.parse(definitions)) - closure.functions.keys()
        known = {**guarded_names(str(closure.namespace["__name__"])), **closure.namespace}
        types = {name: known.get(name, Any) for name in sorted(unknown)}
        found = [*check_program(definitions, closure.functions, (), opened, types)]
        if not any(each.rule in (SYNTAX, UNSUPPORTED) for each in found):
            failing = [*failing_definitions(definitions, closure.functions, opened)]
            lines = {each.line for each in failing}
            # `PAID = charge(1)` in a module: an await before it would be wrong, too.
            found = [each for each in found if each.line not in lines or each.rule != NOT_AWAITED]
            lines = {each.line for each in found}
            found += (each for each in failing if each.line not in lines)
    return sorted(found, key=lambda each: (each.line, each.column))


def annotated_names(tree: ast.Module) -> set[str]:
    """Returns the names that only annotations use: they do not come along with a workflow."""
    todo: list[ast.AST] = []
    for node in ast.walk(tree):
        given = (getattr(node, "annotation", None), getattr(node, "returns", None))
        todo += (each for each in given if isinstance(each, ast.expr))
    found: set[str] = set()
    while todo:
        match node := todo.pop():
            case ast.Name(id=name):
                found.add(name)
            case ast.Constant(value=str() as text):
                with suppress(SyntaxError, ValueError):
                    todo.append(ast.parse(text, mode="eval"))
            case _:
                todo += ast.iter_child_nodes(node)
    return found - {*bound_names(tree.body), *dir(builtins)}


def failing_definitions(
    definitions: str, functions: Collection[str], checker: Checker
) -> Iterator[Complaint]:
    """Yields the definitions that fail, one after another without those before."""
    lines = definitions.split("\n")
    statements = ast.parse(definitions).body
    lost: set[str] = set()
    for _each in range(_MOST):
        failed = checker.define("\n".join(lines), functions)
        if failed is None:
            return
        line, complaint = failed
        yield complaint
        for statement in statements:
            decorators = getattr(statement, "decorator_list", ())
            first = min(each.lineno for each in (statement, *decorators))
            last = statement.end_lineno or 0
            needs = {read.name for read in global_names(statement).reads}
            # What needs a definition that failed would only fail for that.
            if first <= line <= last or needs & lost:
                rest = _importable(statement, checker)
                lost.update({*bound_names([statement])} - {*bound_names(rest)})
                text = "; ".join(map(ast.unparse, rest))
                lines[first - 1 : last] = [text, *[""] * (last - first)]


def _importable(statement: ast.stmt, checker: Checker) -> list[ast.stmt]:
    """Returns the imports of the names that the sandbox has, out of an import that fails."""
    if not isinstance(statement, ast.ImportFrom):
        return []
    each = [ast.ImportFrom(statement.module, [alias], 0) for alias in statement.names]
    missing = checker.missing([ast.unparse(one) for one in each])
    return [one for one in each if ast.unparse(one) not in missing]
