"""Tells what the names of a module stand for, by their values in this process."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from typing import Any

from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.sandbox import ERROR_TYPE
from durable_monty.workflows.scopes import dotted_name

# They are there in the sandbox without being listed among a program's functions.
BUILTIN_WORDS = frozenset({ERROR_TYPE})


def value_of(namespace: Mapping[str, Any], dotted: str) -> Any:
    """Returns the value of a dotted name; None if it has none."""
    first, *rest = dotted.split(".")
    value = namespace.get(first)
    for part in rest:
        value = getattr(value, part, None)
    return value


def is_builtin_word(name: str, value: Any) -> bool:
    """Returns whether a name is one of durable_monty's, which plain Python imports from there."""
    is_own = value is None or str(getattr(value, "__module__", "")).startswith("durable_monty")
    return name in BUILTIN_WORDS and is_own


def registered_name(value: Any) -> str | None:
    """Returns the name in the registry of a value that is a registered function."""
    if not callable(value):
        return None
    entry = FUNCTION_REGISTRY.named(value)
    return entry.name if entry else None


def is_decorator(node: ast.expr, namespace: Mapping[str, Any]) -> bool:
    """Returns whether a decorator is `@workflow` or `@workflow(...)`, under whatever name."""
    dotted = dotted_name(node.func if isinstance(node, ast.Call) else node)
    name = getattr(value_of(namespace, dotted), "__name__", "")
    return "workflow" in (name, dotted.rpartition(".")[2])


def is_dataclass(node: ast.expr, namespace: Mapping[str, Any]) -> bool:
    """Returns whether a decorator is `@dataclass` of dataclasses."""
    dotted = dotted_name(node.func if isinstance(node, ast.Call) else node)
    return value_of(namespace, dotted) is dataclasses.dataclass
