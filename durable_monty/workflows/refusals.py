"""Says why a name of a module cannot come along into the sandbox, and what to do."""

from __future__ import annotations

import ast
import inspect
import sys
from types import FunctionType, ModuleType
from typing import Any

from durable_monty.sandbox import nearest, remedies
from durable_monty.workflows.global_names import Read

_TOP_LEVEL = "Write it as an async def at the top level of a module."
_REGISTER = "Decorate it with @register_function"
_IN_A_FUNCTION = "Use it in a function with @register_function, and call that function."
_CONSTANTS = (str, int, float, bytes, tuple, list, set, frozenset, dict, type(None))
ONE_A_LINE = "A workflow needs this statement on a line of its own."
INPUTS = "_inputs is the name of the inputs in the sandbox. Give it another name."


def misplaced(func: FunctionType, module: str) -> str:
    """Returns why a function cannot be a workflow where it is defined; "" if it can."""
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


def changed(name: str) -> str:
    return (
        f"{name}() is another function here than the one that runs: the file changed after the "
        "process imported it. Restart the process."
    )


def for_type_checkers(name: str) -> str:
    return (
        f"{name} is defined for type checkers only, under TYPE_CHECKING. Use it in annotations "
        "only, or define it outside of that."
    )


def conditional(name: str, statement: ast.stmt) -> str:
    kind = type(statement).__name__
    word = {"Delete": "del", "TryStar": "try", "AsyncFor": "for"}.get(kind, kind.lower())
    return (
        f"{name} is set or changed in the {word!r} of line {statement.lineno}. A workflow takes "
        "only what the module sets outside of such statements: set it there."
    )


def dynamic(name: str, *, has_star_import: bool) -> str:
    if has_star_import:
        return f"{name} comes from an import of *. Import it by its name."
    return f"{name} is not defined by a statement of this module. Define it in this file."


def own_attribute(name: str) -> str:
    return f"{name} is another text in the sandbox. Write the text itself, or give it as an input."


def workflow(name: str) -> str:
    return (
        f"{name} is a workflow, and a workflow cannot await one yet. Move what they share into an "
        "async def without @workflow, and await that."
    )


def decorated_function(name: str, line: int) -> str:
    return (
        f"{name} has a decorator, on line {line}. A helper of a workflow has none: remove it, or "
        f"decorate the function with @register_function, and await {name}(...)."
    )


def decorated_class(name: str, line: int) -> str:
    return (
        f"The class {name} has a decorator, on line {line}. Only @dataclass of dataclasses can "
        "come along."
    )


def class_with_bases(read: Read, line: int, value: Any) -> str:
    return _own_exception(read, value) or (
        f"The class {read.name} has bases, on line {line}, which the sandbox does not support. "
        "Write it without bases; for a record use @dataclass, for an Enum write constants."
    )


def imported(read: Read, value: Any) -> str:
    """Returns the message for a name that is imported from a module the sandbox does not have."""
    name = read.name
    if text := _own_exception(read, value):
        return text
    if isinstance(value, type):
        return (
            f"{name} is a class of {value.__module__}, which the sandbox does not have. "
            f"{_IN_A_FUNCTION}"
        )
    if inspect.isroutine(value):
        return (
            f"{name} is a function of {value.__module__} that is not registered. {_REGISTER}, "
            "or define it in this file if it needs nothing but its arguments."
        )
    if isinstance(value, _CONSTANTS):
        return f"{name} is imported. Define this constant in this file, or give it as an input."
    return (
        f"{name} is an object of {type(value).__module__}.{type(value).__qualname__}, which the "
        f"sandbox does not have. {_IN_A_FUNCTION}"
    )


def unregistered(name: str, function: Any) -> str:
    """Returns the message for `name = awaitable(function)`."""
    return (
        f"{name} is awaitable({function.__name__}), and {function.__module__}."
        f"{function.__name__} is not registered. {_REGISTER}."
    )


def module(read: Read, value: ModuleType, registered: str | None) -> str:
    """Returns the message for a module that the sandbox does not have.

    `value` is the module in `read.dotted`, and `registered` the registered function that it
    stands for.
    """
    if registered:
        function = read.dotted.rpartition(".")[2]
        return (
            f"{value.__name__} is a module. Import the function itself: from {value.__name__} "
            f"import {function}, and call {function}(...)."
        )
    if value.__name__.partition(".")[0] in sys.stdlib_module_names:
        return remedies.missing_module(value.__name__)
    return (
        f"{read.name} is the module {value.__name__}, which the sandbox does not have. Import "
        "what you call, a function with @register_function, by its name."
    )


def _own_exception(read: Read, value: Any) -> str:
    if not (isinstance(value, type) and issubclass(value, BaseException)):
        return ""
    if read.is_handler:
        return remedies.unmatched_except(read.name, nearest(value))
    return remedies.unknown_exception(read.name, nearest(value))
