"""Finds the statement of a workflow function in its file."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from types import FunctionType
from typing import Any

from durable_monty.exceptions import WorkflowComplaint, WrongWorkflow
from durable_monty.workflows import refusals
from durable_monty.workflows.module_file import ModuleFile, read_module
from durable_monty.workflows.values import is_decorator


@dataclass(frozen=True, slots=True)
class Entry:
    """A workflow function: its file and its statement there."""

    func: FunctionType
    file: ModuleFile
    node: ast.AsyncFunctionDef


def entry_of(func: Callable[..., Any]) -> Entry:
    """Returns the statement of a function that `@workflow` decorates. Raises `WrongWorkflow`."""
    inner = inspect.unwrap(func)
    name = getattr(func, "__name__", type(func).__name__)
    if not isinstance(inner, FunctionType):
        kind = type(func).__name__
        where = getattr(func, "__module__", None) or "?"
        text = f"@workflow decorates an async def, not an object of type {kind}."
        raise WrongWorkflow(name, [WorkflowComplaint(where, 1, 1, text)])
    code = inner.__code__
    line = code.co_firstlineno
    module = str(inner.__globals__.get("__name__", ""))
    file = read_module(code.co_filename, module, inner.__globals__)

    def refuse(message: str, line: int = line, column: int = 1) -> WrongWorkflow:
        shown = file.file if file else PurePath(code.co_filename).name
        return WrongWorkflow(name, [WorkflowComplaint(shown, line, column, message)])

    if text := refusals.misplaced(inner, module):
        raise refuse(text)
    if file is None:
        raise refuse(
            f"The source of {name}() cannot be read from {code.co_filename}. A workflow needs its "
            ".py file, where it starts and where it runs."
        )
    node = file.function_at(inner.__name__, line)
    if node is None or file.has_changed(inner):
        raise refuse(refusals.changed(name))
    wrong = [
        WorkflowComplaint(file.file, *file.place(where), text)
        for where, text in _mistakes(node, inner.__globals__)
    ]
    if wrong:
        raise WrongWorkflow(name, sorted(wrong))
    assert isinstance(node, ast.AsyncFunctionDef)  # noqa: S101
    return Entry(inner, file, node)


def _mistakes(
    node: ast.FunctionDef | ast.AsyncFunctionDef, namespace: dict[str, Any]
) -> Iterator[tuple[ast.AST, str]]:
    name = node.name
    if isinstance(node, ast.FunctionDef):
        yield node, f"Write: async def {name}(...). A workflow awaits its calls."
    found = [each for each in node.decorator_list if is_decorator(each, namespace)]
    for decorator in node.decorator_list:
        if decorator not in found:
            yield (
                decorator,
                f"{name}() has another decorator than @workflow, which the sandbox would not run. "
                "Remove it.",
            )
    for decorator in found[1:]:
        yield decorator, f"{name}() has @workflow twice. Remove one of them."
    args = node.args
    for parameter in args.posonlyargs:
        yield (
            parameter,
            f"{parameter.arg} is positional only, and inputs have names. Remove the / behind it.",
        )
    if args.vararg:
        yield args.vararg, f"Inputs have names: write a list, {args.vararg.arg}, without the *."
