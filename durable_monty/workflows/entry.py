"""Finds the statement of a workflow function in its file."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import PurePath
from types import CodeType, FunctionType
from typing import Any

from durable_monty.exceptions import WorkflowComplaint, WrongWorkflow
from durable_monty.workflows.module_file import ModuleFile, read_module
from durable_monty.workflows.values import is_decorator

_TOP_LEVEL = "Write it as an async def at the top level of a module."


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

    if text := _wrong_place(inner, module):
        raise refuse(text)
    if file is None:
        raise refuse(
            f"The source of {name}() cannot be read: there is no file {code.co_filename} with it. "
            "A workflow needs its .py file, where it runs and where it starts."
        )
    node = file.function_at(inner.__name__, line)
    if node is None or _has_changed(file, inner):
        raise refuse(
            f"{name}() is not at this line of the file any more: the file changed after the "
            "process imported it. Restart the process."
        )
    wrong = [
        WorkflowComplaint(file.file, *file.place(where), text)
        for where, text in _mistakes(node, inner.__globals__)
    ]
    if wrong:
        raise WrongWorkflow(name, wrong)
    assert isinstance(node, ast.AsyncFunctionDef)  # noqa: S101
    return Entry(inner, file, node)


def _wrong_place(func: FunctionType, module: str) -> str:
    name = func.__qualname__
    if func.__name__ == "<lambda>":
        return f"A lambda cannot be a workflow. {_TOP_LEVEL}"
    if "<locals>" in name:
        return (
            f"{name} is defined inside a function, or another decorator put it in the place of "
            f"the workflow. {_TOP_LEVEL}"
        )
    if "." in name:
        return f"{name} is a method. {_TOP_LEVEL}"
    if module == "__main__":
        return (
            f"{name}() is defined in the script that runs, which workers cannot import. Move it "
            "into a module, such as the workflows.py of an app."
        )
    return ""


def _has_changed(file: ModuleFile, func: FunctionType) -> bool:
    """Returns whether the file has another function at this place than the process runs."""
    loader = getattr(func.__globals__.get("__spec__"), "loader", None)
    if type(loader) is not SourceFileLoader:
        return False  # one that rewrites what it imports, as pytest's does
    found, code = file.code_at(func.__name__, func.__code__.co_firstlineno), func.__code__
    # Not the whole code: tools that trace or measure may have added instructions of their own.
    return found is None or not (
        _constants(found) <= _constants(code)
        and {*found.co_names} <= {*code.co_names}
        and found.co_varnames == code.co_varnames
    )


def _constants(code: CodeType) -> set[str]:
    return {repr(each) for each in code.co_consts if not isinstance(each, CodeType)}


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
