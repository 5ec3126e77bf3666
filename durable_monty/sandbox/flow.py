"""Where the values of a source's expressions can go: read off the source, in linear time."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from enum import Enum, auto

from durable_monty.sandbox.scopes import Scopes

# They look at the value they are given, and keep nothing of it.
_LOOKING = {"bool", "format", "isinstance", "len", "print", "repr", "str", "type"}
# They reach names that do not stand in the source as such.
_HIDDEN = {"eval", "exec", "globals", "locals", "vars"}


class End(Enum):
    """Where a value can end, beside being dropped."""

    AWAITED = auto()  # by the main task: it goes on only with the answer
    AWAITED_BESIDE = auto()  # in a function, which may be run by a gather that gives it up
    GATHERED = auto()
    ASKED = auto()  # as an argument of an outside function
    OUTPUT = auto()
    UNKNOWN = auto()


Place = ast.AST | str | End  # a node, or all variables of a name


class Flow:
    """`functions`: the names of the outside functions.

    Variables of one name are one, whatever their scope, and what is stored in an attribute or
    given to a function can go anywhere. So a value may seem to go where it never does, but what
    seems to be dropped is dropped.
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
        """Whether the source does what cannot be read off it."""
        return any(name.id in _HIDDEN for name in self.scopes.names)

    def goes(self, node: ast.AST, *ends: End) -> bool:
        """Whether the value of an expression can come to one of these ends."""
        return any(node in self._reaching(end) for end in ends)

    def _reaching(self, end: End) -> set[Place]:
        if end not in self._reached:
            found: set[Place] = set()
            todo: list[Place] = [end]
            while todo:
                new = [each for each in self._sources.get(todo.pop(), ()) if each not in found]
                found.update(new)
                todo += new
            self._reached[end] = found
        return self._reached[end]

    def _edges(
        self, node: ast.AST, scope: ast.AST | None
    ) -> Iterator[tuple[ast.AST | str, Place]]:
        """Each value of which `node` makes something, and what."""
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
            if called in _LOOKING:
                continue
            if called == "asyncio.gather":
                yield value, call
                yield value, End.GATHERED
            elif called == "asyncio.run":
                yield value, _awaited(scope)
                yield from self._results(value, call)
            elif called in self.scopes.functions:
                yield value, End.ASKED
            else:
                yield value, End.UNKNOWN

    def _results(self, awaited: ast.expr, node: ast.AST) -> Iterator[tuple[ast.AST | str, Place]]:
        """What an own coroutine returns is the value of its `await`."""
        if isinstance(awaited, ast.Call):
            own = self.scopes.own(awaited.func)
            if isinstance(own, ast.AsyncFunctionDef):
                self._plainly_called.add(awaited.func)
                yield own, node


# A value in them is in theirs.
_HOLDING = (
    ast.Attribute, ast.BinOp, ast.BoolOp, ast.Dict, ast.DictComp, ast.GeneratorExp, ast.List,
    ast.ListComp, ast.Set, ast.SetComp, ast.Starred, ast.Subscript, ast.Tuple,
)  # fmt: skip
# They look at a value, or have none.
_DROPPING = (
    ast.Assert, ast.Compare, ast.Expr, ast.FormattedValue, ast.If, ast.JoinedStr, ast.Module,
    ast.Name, ast.Return, ast.UnaryOp, ast.While, ast.keyword,
)  # fmt: skip


def _values_of(node: ast.AST, scope: ast.AST | None) -> Iterator[tuple[ast.AST | str, Place]]:
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
