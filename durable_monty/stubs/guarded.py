"""Finds what a module imports only for type checkers."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any


@lru_cache(maxsize=256)
def guarded_names(module: str) -> dict[str, Any]:
    """Returns what a module imports under `if TYPE_CHECKING:`, as far as it is loaded already.

    It imports nothing: such an import is guarded because it would be slow, or circular.
    """
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError, SyntaxError):
        return {}
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for statement in node.body:
                found.update(_imported(statement, sys.modules[module]))
    return found


def _imported(statement: ast.stmt, module: ModuleType) -> Iterator[tuple[str, Any]]:
    match statement:
        case ast.Import(names=names):
            for alias in names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                if name in sys.modules:
                    yield alias.asname or name, sys.modules[name]
        case ast.ImportFrom(names=names, level=level):
            relative = "." * level + (statement.module or "")
            package = module.__package__ or module.__name__
            origin = importlib.util.resolve_name(relative, package) if level else relative
            for alias in names:
                value = getattr(sys.modules.get(origin), alias.name, None)
                if value is None:
                    value = sys.modules.get(f"{origin}.{alias.name}")
                if value is not None:
                    yield alias.asname or alias.name, value
