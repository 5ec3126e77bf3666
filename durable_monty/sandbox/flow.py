"""Follows where the values of a source's expressions can go, in linear time."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from enum import Enum, auto

from durable_monty.sandbox.scopes import Scopes

# These functions read their arguments and keep none of them.
_READING = {"bool", "format", "isinstance", "len", "print", "repr", "str", "type"}
# These functions reach names that do not stand in the source as such.
_HIDDEN = {"eval", "exec", "globals", "locals", "vars"}


class End(Enum):
    """The places where a value can end; a value that comes to none of them is dropped."""

    AWAITED = auto()  # by the main task: it goes on only with the answer
    AWAITED_BESIDE = auto()  # in a function, which may be run by a gather that gives it up
    GATHERED = auto()
    PASSED = auto()  # as an argument of an outside function
    OUTPUT = auto()
    UNKNOWN = auto()


Place = ast.AST | str | End  # a node, or all variables of a name


class Flow:
    """The flow of values through a source. `functions`: the names of the outside functions.

    All variables of one name count as one, whatever their scope, and a value that is stored in an
    attribute or given to a function can go anywhere. So a value may seem to go where it never
    does, but a value that seems to be dropped is dropped.
    """

    def __init__(self, tree: ast.Module, functions: Collection[str]) -> None:
        self.scopes = Scopes(tree, functions)
        self._last = tree.body[-1] if tree.body else None
        self._plainly_called: set[ast.AST] = set()
        self._reached: dict[End, set[Place]] = {}
        self._sources: dict[Place, list[ast.AST | str]] = defaultdict(list)
        for node, scope in self.scopes.nodes:
            for value, place in self._edges(node, scope):
                self._sources[place].append(value)

    @property
    def is_hidden(self) -> bool:
        """Returns whether the source reaches names in ways that cannot be followed."""
        return any(name.id in _HIDDEN for name in self.scopes.names)

    def goes(self, node: ast.AST, *ends: End) -> bool:
        """Returns whether the value of an expression can come to one of these ends."""
        for end in ends:
            if end not in self._reached:
                found: set[Place] = set()
                todo: list[Place] = [end]
                while todo:
                    new = [each for each in self._sources.get(todo.pop(), ()) if each not in found]
                    found.update(new)
                    todo += new
                self._reached[end] = found
            if node in self._reached[end]:
                return True
        return False

    def _edges(
        self, node: ast.AST, scope: ast.AST | None
    ) -> Iterator[tuple[ast.AST | str, Place]]:
        """Yields each value that goes into `node` or through it, with the place it goes to."""
        match node:
            case ast.Name(ctx=ast.Load()):
                yield node.id, node
                own = self.scopes.own(node)
                if own is not None and node not in self._plainly_called:
                    yield own, End.UNKNOWN
            case ast.Call():
                yield from self._call_edges(node, scope)
            case ast.Await(value=value):
                yield value, _awaited(scope)
                yield from self._results(value, node)
            case ast.Expr(value=value):
                if node is self._last:
                    yield value, End.OUTPUT
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if not self.scopes.is_own(node):
                    yield node, End.UNKNOWN
                yield from _unknown(node)
            case _:
                yield from _values_of(node, scope)

    def _call_edges(
        self, call: ast.Call, scope: ast.AST | None
    ) -> Iterator[tuple[ast.AST | str, Place]]:
        called = self.scopes.stands_for(call.func)
        yield call.func, call  # a method can give what its object holds
        own = self.scopes.own(call.func)
        if isinstance(own, ast.FunctionDef):
            self._plainly_called.add(call.func)
            yield own, call
        for value in (*call.args, *(keyword.value for keyword in call.keywords)):
            if called in _READING:
                continue
            if called == "asyncio.gather":
                yield value, call
                yield value, End.GATHERED
            elif called == "asyncio.run":
                yield value, _awaited(scope)
                yield from self._results(value, call)
            elif called in self.scopes.functions:
                yield value, End.PASSED
            else:
                yield value, End.UNKNOWN

    def _results(self, awaited: ast.expr, node: ast.AST) -> Iterator[tuple[ast.AST | str, Place]]:
        """Yields an own coroutine as the source of its `await`, which has its return value."""
        if isinstance(awaited, ast.Call):
            own = self.scopes.own(awaited.func)
            if isinstance(own, ast.AsyncFunctionDef):
                self._plainly_called.add(awaited.func)
                yield own, node


# Their value holds the values below them.
_HOLDING = (
    ast.Attribute, ast.BinOp, ast.BoolOp, ast.Dict, ast.DictComp, ast.GeneratorExp, ast.List,
    ast.ListComp, ast.Set, ast.SetComp, ast.Starred, ast.Subscript, ast.Tuple,
)  # fmt: skip
# They read a value and drop it, or have none.
_DROPPING = (
    ast.Assert, ast.Compare, ast.Expr, ast.FormattedValue, ast.If, ast.JoinedStr, ast.Module,
    ast.Name, ast.Return, ast.UnaryOp, ast.While, ast.keyword,
)  # fmt: skip


def _values_of(node: ast.AST, scope: ast.AST | None) -> Iterator[tuple[ast.AST | str, Place]]:
    """Yields the edges of a node that is no name, call, await or function."""
    match node:
        case ast.Return(value=ast.expr() as value):
            yield value, End.OUTPUT if scope is None else scope
        case ast.Assign(value=value, targets=targets):
            yield from _stored(value, targets, scope)
        case ast.AnnAssign(value=ast.expr() as value, target=target):
            yield from _stored(value, [target], scope)
        case ast.NamedExpr(value=value, target=target):
            yield value, node
            yield from _stored(value, [target], scope)
        case ast.For(iter=value, target=target) | ast.comprehension(iter=value, target=target):
            yield from _stored(value, [target], scope)
        case ast.IfExp(body=body, orelse=orelse):
            yield body, node
            yield orelse, node
        case _ if isinstance(node, _HOLDING):
            for child in ast.iter_child_nodes(node):
                yield child, node
        case _ if not isinstance(node, _DROPPING):
            yield from _unknown(node)


def _awaited(scope: ast.AST | None) -> End:
    return End.AWAITED if scope is None else End.AWAITED_BESIDE


def _stored(
    value: ast.expr, targets: Iterable[ast.expr], scope: ast.AST | None
) -> Iterator[tuple[ast.AST | str, Place]]:
    todo = list(targets)
    while todo:
        match todo.pop():
            case ast.Name(id=name) if not isinstance(scope, ast.ClassDef):
                yield value, name
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                todo += elements
            case ast.Starred(value=target):
                todo.append(target)
            case _:
                yield value, End.UNKNOWN


def _unknown(node: ast.AST) -> Iterator[tuple[ast.AST | str, Place]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child, End.UNKNOWN
