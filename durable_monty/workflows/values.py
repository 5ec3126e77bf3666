"""Tells what the names of a module stand for, by their values in this process."""

from __future__ import annotations

import ast
import dataclasses
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import resolve_name
from typing import Any, NamedTuple

from durable_monty.awaitables import awaited_function
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.sandbox import ERROR_TYPE, MODULES
from durable_monty.workflows.scopes import dotted_name, name_of

# They are there in the sandbox without being listed among a program's functions.
BUILTIN_WORDS = frozenset({ERROR_TYPE})


class _Registered(NamedTuple):
    """The names of registered functions by object and by place, for one state of the registry."""

    version: int
    by_id: dict[int, str]
    by_place: dict[str, str]


_registered = _Registered(-1, {}, {})


def value_of(namespace: Mapping[str, Any], dotted: str) -> Any:
    """Returns the value of a dotted name; None if it has none."""
    first, *rest = dotted.split(".")
    value = namespace.get(first)
    for part in rest:
        value = getattr(value, part, None)
    return value


def registered_name(value: Any) -> str | None:
    """Returns the name in the registry of a value that is a registered function."""
    return _index().by_id.get(id(awaited_function(value)))


def registered_at(
    name: str, statements: Iterable[ast.stmt], namespace: Mapping[str, Any]
) -> str | None:
    """Returns the name in the registry of the function that statements give a name.

    The value of the name may be a mock, while a test runs.
    """
    for module, attribute in _origins(name, statements, namespace):
        if found := registered_name(getattr(sys.modules.get(module), attribute, None)):
            return found
        if found := _index().by_place.get(f"{module}.{attribute}"):
            return found
    return None


def is_builtin_word(name: str, value: Any) -> bool:
    """Returns whether a name is one of durable_monty's, which plain Python imports from there."""
    is_own = value is None or str(getattr(value, "__module__", "")).startswith("durable_monty")
    return name in BUILTIN_WORDS and is_own


def is_in_sandbox(statement: ast.Import | ast.ImportFrom, name: str) -> bool:
    """Returns whether the sandbox has the module from which a name is imported."""
    if isinstance(statement, ast.ImportFrom):
        return not statement.level and statement.module in MODULES
    return all(each.name in MODULES for each in statement.names if name_of(each) == name)


def is_decorator(node: ast.expr, namespace: Mapping[str, Any]) -> bool:
    """Returns whether a decorator is `@workflow` or `@workflow(...)`, under whatever name."""
    dotted = dotted_name(node.func if isinstance(node, ast.Call) else node)
    name = getattr(value_of(namespace, dotted), "__name__", "")
    return "workflow" in (name, dotted.rpartition(".")[2])


def is_dataclass(node: ast.expr, namespace: Mapping[str, Any]) -> bool:
    """Returns whether a decorator is `@dataclass` of dataclasses."""
    dotted = dotted_name(node.func if isinstance(node, ast.Call) else node)
    return value_of(namespace, dotted) is dataclasses.dataclass


def _origins(
    name: str, statements: Iterable[ast.stmt], namespace: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yields the module and the name there of what each statement defines or imports."""
    for statement in statements:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield str(namespace.get("__name__")), name
            case ast.ImportFrom(module=module, names=aliases, level=level):
                package = str(namespace.get("__package__") or "")
                dotted = "." * level + (module or "")
                for alias in aliases:
                    if name_of(alias) == name:
                        yield resolve_name(dotted, package), alias.name


def _index() -> _Registered:
    # `FUNCTION_REGISTRY.named` looks at every function for every name: 1,000 workflows took 4 s.
    global _registered  # noqa: PLW0603
    if _registered.version != FUNCTION_REGISTRY.version:
        version = FUNCTION_REGISTRY.version
        # A decorated name comes after a dotted path, and wins over it.
        entries = sorted(FUNCTION_REGISTRY.values(), key=lambda entry: "." not in entry.name)
        by_id = {id(entry.func): entry.name for entry in entries}
        _registered = _Registered(version, by_id, {each.place: each.name for each in entries})
    return _registered
