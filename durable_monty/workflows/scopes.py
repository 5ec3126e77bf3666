"""Knows the scopes of Python: which names a definition binds, and where they are known."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class Scope:
    """A scope below the module. In a class a name is bound after the statement that binds it."""

    outer: Scope | None
    bound: set[str]
    declared: set[str]  # global
    is_class: bool = False
    bound_after: dict[str, tuple[int, int]] = field(default_factory=dict)

    def has(self, node: ast.Name) -> bool:
        """Returns whether a name that is used in this scope is not one of the module."""
        if node.id in self.declared:
            return False
        after = self.bound_after.get(node.id)
        if after is not None and (node.lineno, node.col_offset) >= after:
            return True
        scope: Scope | None = self
        while scope is not None:
            if not scope.is_class and node.id in scope.bound:
                return True
            if not scope.is_class and node.id in scope.declared:
                return False
            scope = scope.outer
        return False


def function_scope(
    node: Function | ast.Lambda, body: list[ast.expr] | list[ast.stmt], outer: Scope | None
) -> Scope:
    args = node.args
    parameters = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    bound = {each.arg for each in parameters if each} | {*bound_names(body)} | _type_names(node)
    declared = _declared(body, ast.Global)
    return Scope(outer, bound - declared - _declared(body, ast.Nonlocal), declared)


def class_scope(node: ast.ClassDef, outer: Scope | None) -> Scope:
    after: dict[str, tuple[int, int]] = dict.fromkeys(_type_names(node), (0, 0))
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and statement.value is None:
            continue
        place = (statement.end_lineno or 0, statement.end_col_offset or 0)
        for name in bound_names([statement]):
            after.setdefault(name, place)
    return Scope(outer, set(), _declared(node.body, ast.Global), True, after)


def _declared(body: Iterable[ast.AST], kind: type[ast.Global | ast.Nonlocal]) -> set[str]:
    """Returns the names that statements of a scope declare as global or nonlocal."""
    found: set[str] = set()
    todo = [*body]
    while todo:
        node = todo.pop()
        if isinstance(node, kind):
            found.update(node.names)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            todo += ast.iter_child_nodes(node)
    return found


def _type_names(node: ast.AST) -> set[str]:
    return {each.name for each in getattr(node, "type_params", ())}


def bound_names(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yields the names that nodes bind in their own scope, some of them more than once."""
    todo = list(nodes)
    while todo:
        node = todo.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
                todo += evaluated_around(node)
            case ast.Lambda():
                todo += evaluated_around(node)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                # Its own variables stay in it; those of `:=` do not.
                inside = (each for each in ast.walk(node) if isinstance(each, ast.NamedExpr))
                todo += (each.target for each in inside)
            case ast.Import() | ast.ImportFrom():
                yield from (name_of(alias) for alias in node.names)
            case (
                ast.Name(ctx=ast.Store() | ast.Del(), id=name) | ast.ExceptHandler(name=name)
                | ast.MatchAs(name=name) | ast.MatchStar(name=name) | ast.MatchMapping(rest=name)
            ):  # fmt: skip
                if name:
                    yield name
                todo += ast.iter_child_nodes(node)
            case _:
                todo += ast.iter_child_nodes(node)


def name_of(alias: ast.alias) -> str:
    """Returns the name that an import binds."""
    return alias.asname or alias.name.partition(".")[0]


def dotted_name(node: ast.expr) -> str:
    """Returns a dotted name as it is written; "" for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else ""


def evaluated_around(node: Function | ast.ClassDef | ast.Lambda) -> list[ast.expr]:
    """Returns the parts of a definition that are evaluated in the scope around it."""
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *(each.value for each in node.keywords)]
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    defaults = [*node.args.defaults, *(each for each in node.args.kw_defaults if each)]
    return [*decorators, *defaults]
