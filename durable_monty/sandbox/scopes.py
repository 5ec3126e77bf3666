"""Resolves the names of a source: what they are bound to, and what a call calls."""

from __future__ import annotations

import ast
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Collection, Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePath
from random import Random
from re import Match, Pattern

Function = ast.FunctionDef | ast.AsyncFunctionDef

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.ClassDef, ast.Lambda)
# No value goes into these, and none comes out.
_DULL = frozenset({
    ast.Constant, ast.Load, ast.Store, ast.Del, ast.Pass, ast.alias, *ast.boolop.__subclasses__(),
    *ast.operator.__subclasses__(), *ast.cmpop.__subclasses__(),
})  # fmt: skip
# The attributes of all values that a workflow can have: a method of such a name may be theirs.
_MEMBERS = frozenset(
    name
    for kind in (str, bytes, int, float, complex, list, tuple, dict, set, frozenset, BaseException,
                 date, datetime, time, timedelta, timezone, Decimal, Counter, OrderedDict, deque,
                 Pattern, Match, Random, PurePath)
    for name in dir(kind)
)  # fmt: skip


class Scopes:
    """The bindings of a source. `nodes` are all its nodes, parents first, with the function or
    class around each; `functions` are the outside functions whose names it does not bind itself.
    """

    def __init__(self, tree: ast.Module, functions: Collection[str]) -> None:
        self.nodes: list[tuple[ast.AST, ast.AST | None]] = []
        self.calls: list[ast.Call] = []
        self.names: list[ast.Name] = []  # where they are read
        self._bound: dict[str, list[ast.AST | str]] = defaultdict(list)
        self._members: dict[str, list[ast.AST]] = defaultdict(list)
        todo: list[tuple[ast.AST, ast.AST | None]] = [(tree, None)]
        while todo:
            node, scope = todo.pop()
            self.nodes.append((node, scope))
            match node:
                case ast.Name(ctx=ast.Load()):
                    self.names.append(node)
                case ast.Call():
                    self.calls.append(node)
                case ast.Attribute(ctx=ast.Store(), attr=name):
                    self._members[name].append(node)
            for name, origin in self._bindings(node, scope):
                self._bound[name].append(origin)
                if isinstance(scope, ast.ClassDef):
                    self._members[name].append(node)
            inner = node if isinstance(node, _SCOPES) else scope
            todo += [
                (child, inner) for child in ast.iter_child_nodes(node) if type(child) not in _DULL
            ]
        self._attributes = {
            name
            for name, origins in self._members.items()
            if all(
                isinstance(origin, ast.AsyncFunctionDef) and not origin.decorator_list
                for origin in origins
            )
        } - _MEMBERS
        self.functions = {name for name in functions if name not in self._bound}
        self._own = {
            name: origins[0]
            for name, origins in self._bound.items()
            if len(origins) == 1 and isinstance(origins[0], _FUNCTIONS)
        }
        self._imported = {
            name: origin
            for name, origins in self._bound.items()
            if len(set(origins)) == 1 and isinstance(origin := origins[0], str)
        }

    def own(self, node: ast.AST) -> Function | None:
        """Returns the function of the source that a name surely stands for."""
        return self._own.get(node.id) if isinstance(node, ast.Name) else None

    def is_method(self, node: ast.AST) -> bool:
        """Returns whether it is surely an `async def` of a class of the source: nothing else has
        that attribute."""
        match node:
            case ast.Attribute(value=ast.Name(id=name) | ast.Call(func=ast.Name(id=name))):
                return node.attr in self._attributes and name not in self._imported
        return False

    def is_own(self, function: Function) -> bool:
        """Returns whether its name surely stands for it."""
        return self._own.get(function.name) is function

    def times_bound(self, name: str) -> int:
        return len(self._bound.get(name, ()))

    def stands_for(self, node: ast.AST) -> str:
        """Returns the name of the outside or builtin function, or of asyncio's (`asyncio.gather`),
        that a node stands for; empty if it is anything else."""
        match node:
            case ast.Name(id=name):
                return self._imported.get(name, "") if name in self._bound else name
            case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                return f"asyncio.{attribute}" if self._imported.get(name) == "asyncio" else ""
        return ""

    def _bindings(
        self, node: ast.AST, scope: ast.AST | None
    ) -> Iterator[tuple[str, ast.AST | str]]:
        """Yields the names that `node` binds, each with what it binds it to."""
        match node:
            case ast.Name(ctx=ast.Load()):
                return
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                is_plain = not node.decorator_list and not isinstance(scope, ast.ClassDef)
                # Not the function itself, if its name stands for something else.
                yield node.name, node if is_plain else node.args
            case (
                ast.Name(id=name) | ast.arg(arg=name) | ast.ClassDef(name=name)
                | ast.ExceptHandler(name=str() as name) | ast.MatchAs(name=str() as name)
                | ast.MatchStar(name=str() as name) | ast.MatchMapping(rest=str() as name)
            ):  # fmt: skip
                yield name, node
            case ast.Import(names=aliases):
                for alias in aliases:
                    yield alias.asname or alias.name.split(".")[0], alias.name
            case ast.ImportFrom(module=module, names=aliases):
                for alias in aliases:
                    yield alias.asname or alias.name, f"{module}.{alias.name}"
