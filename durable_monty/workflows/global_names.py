"""Finds the names that code reads from its module when it runs."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from durable_monty.workflows.scopes import (
    Scope,
    bound_names,
    class_scope,
    dotted_name,
    evaluated_around,
    function_scope,
)


class Read(NamedTuple):
    """A name that is read from the module; `dotted` is what is written, as `settings.DEBUG`."""

    name: str
    dotted: str
    node: ast.expr
    is_handler: bool = False
    is_raised: bool = False


@dataclass(slots=True)
class GlobalNames:
    """The names of a module that a statement reads when it runs, and those that it sets."""

    reads: list[Read] = field(default_factory=list)
    writes: set[str] = field(default_factory=set)


def global_names(statement: ast.stmt, *, decorators: bool = True) -> GlobalNames:
    """Returns the names of the module that a statement at its top level uses.

    Annotations and the bounds of type parameters do not count: the sandbox does not evaluate them.
    """
    walk = _Walk()
    walk.run(statement, [] if decorators else getattr(statement, "decorator_list", []))
    return walk.found


class _Walk:
    """A walk without recursion: `1 + 1 + ...` is deeper than Python's stack."""

    def __init__(self) -> None:
        self.found = GlobalNames()
        self._todo: list[tuple[ast.AST, Scope | None]] = []
        self._handlers: set[int] = set()
        self._raised: set[int] = set()

    def run(self, statement: ast.stmt, without: Collection[ast.expr]) -> None:
        self._push([statement], None)
        while self._todo:
            node, scope = self._todo.pop()
            if node not in without:
                self.visit(node, scope)

    def visit(self, node: ast.AST, scope: Scope | None) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                self._push(evaluated_around(node), scope)
                body = [node.body] if isinstance(node, ast.Lambda) else node.body
                self._push(body, function_scope(node, body, scope))
            case ast.ClassDef():
                self._push(evaluated_around(node), scope)
                self._push(node.body, class_scope(node, scope))
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self.comprehension(node, scope)
            case ast.Attribute() | ast.Name():
                self.name(node, scope)
            case _:
                self.note_errors(node)
                if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                    self._read(node.target, scope, node.target)
                children = ast.iter_child_nodes(node)
                if isinstance(node, ast.AnnAssign):
                    children = (each for each in children if each is not node.annotation)
                self._push(children, scope)

    def name(self, node: ast.Attribute | ast.Name, scope: Scope | None) -> None:
        begins: ast.expr = node
        while isinstance(begins, ast.Attribute):
            begins = begins.value
        if not isinstance(begins, ast.Name):
            self._push([begins], scope)
        elif isinstance(begins.ctx, ast.Load):
            self._read(begins, scope, node)
        elif scope is None or begins.id in scope.declared:
            self.found.writes.add(begins.id)

    def _push(self, nodes: Iterable[ast.AST], scope: Scope | None) -> None:
        self._todo += [(node, scope) for node in reversed([*nodes])]

    def comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp,
        scope: Scope | None,
    ) -> None:  # fmt: skip
        targets = {name for each in node.generators for name in bound_names([each.target])}
        inner = Scope(scope, targets, set())
        # The first iterable is evaluated in the scope around.
        first, *others = node.generators
        self._push([first.iter], scope)
        rest: list[ast.AST] = [*first.ifs, *others]
        rest += [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self._push(rest, inner)

    def note_errors(self, node: ast.AST) -> None:
        match node:
            case ast.ExceptHandler(type=ast.Tuple(elts=kinds)):
                self._handlers |= set(map(id, kinds))
            case ast.ExceptHandler(type=ast.expr() as kind):
                self._handlers.add(id(kind))
            case ast.Raise(exc=ast.Call(func=kind)) | ast.Raise(exc=ast.expr() as kind):
                self._raised.add(id(kind))

    def _read(self, name: ast.Name, scope: Scope | None, whole: ast.expr) -> None:
        if scope is None or not scope.has(name):
            handler, raised = id(whole) in self._handlers, id(whole) in self._raised
            self.found.reads.append(Read(name.id, dotted_name(whole), whole, handler, raised))
