"""Indexes a source: which names, calls and imports stand where. One walk, linear in its size."""

from __future__ import annotations

import ast
import types
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

Place = tuple[int, int]  # line and column, both counted from 1, in characters


class Import(NamedTuple):
    """An import of one name. `statement` imports only that: a module, or a `member` of it."""

    place: Place
    statement: str
    module: str
    member: str


class Called(NamedTuple):
    """A call, and the dotted name that is called in the source; "" if it is no name."""

    name: str
    node: ast.Call


@dataclass(slots=True)
class SourceIndex:
    """The names, calls and imports of a source, by place."""

    tree: ast.Module
    # Constructs that the parser of the sandbox refuses, in its own words.
    constructs: list[tuple[Place, str]] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    # The import of each name that has one, and the other names that the source gives a value.
    imported: dict[str, Import] = field(default_factory=dict)
    bound: Counter[str] = field(default_factory=Counter)
    # Names that are given a value in a way that the type checker does not follow; "*": all.
    unsure: set[str] = field(default_factory=set)
    dotted: list[tuple[Place, str]] = field(default_factory=list)
    calls: dict[Place, Called] = field(default_factory=dict)
    # The arguments that are constants, or dicts that are written out.
    constants: set[Place] = field(default_factory=set)
    # The displays of dicts with a `**`.
    unpacking: set[Place] = field(default_factory=set)
    # The calls whose value, without an await, is given a name.
    assigned: dict[str, Called] = field(default_factory=dict)
    # The places that read a name, and the exceptions that a `try` around each catches; "*": all.
    reads: dict[str, list[Place]] = field(default_factory=dict)
    caught: dict[Place, frozenset[str]] = field(default_factory=dict)
    annotations: set[Place] = field(default_factory=set)
    handlers: set[Place] = field(default_factory=set)
    # Own coroutines, and the calls that are a statement or a value in an f-string.
    coroutines: set[str] = field(default_factory=set)
    unused: set[Place] = field(default_factory=set)
    raised: set[Place] = field(default_factory=set)
    returns: bool = False


def index_source(source: str) -> SourceIndex | None:
    """Returns the index, or None if this Python cannot parse it; the sandbox may know a newer."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError, SyntaxWarning):
        return None
    indexer = _Indexer(source, tree)
    indexer.walk()
    return indexer.index


class _Around(NamedTuple):
    """Describes what encloses a node."""

    annotation: bool = False
    handler: bool = False
    caught: frozenset[str] = frozenset()


# Where a node keeps the name that it gives a value. Names and imports have rules of their own.
_NAME_FIELDS: dict[type[ast.AST], str] = {
    **dict.fromkeys((ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef), "name"),
    **dict.fromkeys((ast.ExceptHandler, ast.MatchAs, ast.MatchStar), "name"),
    ast.arg: "arg",
    ast.MatchMapping: "rest",
}
_CONSTRUCTS = {
    "Yield": "yield expressions",
    "YieldFrom": "yield expressions",
    "AsyncWith": "async context managers (async with)",
    "AsyncFor": "async for loops",
    "Delete": "the 'del' statement",
    "TryStar": "exception groups (try*/except*)",
    "TypeAlias": "type aliases",
    "TemplateStr": "template strings (t-strings)",
}
_METHOD_DECORATORS = "method decorators (classmethod/staticmethod/property)"
_CLASS_TARGETS = "complex class variable targets (only `name = <expr>` is allowed)"
_CLASS_BODIES = "class bodies containing anything other than methods and simple class variables"


_WRITTEN_OUT = (
    *(ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict),
    *(ast.UnaryOp, ast.USub, ast.expr_context),
)


class _Indexer:
    def __init__(self, source: str, tree: ast.Module) -> None:
        self.index = SourceIndex(tree)
        self._lines = [*source.encode().splitlines(), b""]
        self._columns: dict[int, array[int]] = {}

    def walk(self) -> None:
        # Without recursion: `1 + 1 + ...` is deeper than Python's stack.
        stack: list[tuple[ast.AST, _Around]] = [(self.index.tree, _Around())]
        while stack:
            node, around = stack.pop()
            match node:
                case ast.Import() | ast.ImportFrom():
                    self._note_imports(node, around)
                case ast.expr():
                    self._note_expression(node, around)
                case _:
                    self._note_statement(node)
            name = getattr(node, _NAME_FIELDS.get(type(node), ""), None)
            if isinstance(name, str):
                self.index.bound[name] += 1
            where, construct = node, _CONSTRUCTS.get(type(node).__name__)
            if isinstance(node, ast.ClassDef) and (node.bases or node.keywords):
                construct = "class inheritance and metaclasses"
            elif isinstance(node, ast.comprehension) and node.is_async:
                where, construct = node.target, "async comprehensions"
            if construct:
                self.index.constructs.append((self._place(where), construct))
            if isinstance(node, ast.ClassDef):
                for where, construct in _refused_in_class(node):
                    self.index.constructs.append((self._place(where), construct))
            stack += self._inside(node, around)

    def _inside(self, node: ast.AST, around: _Around) -> Iterator[tuple[ast.AST, _Around]]:
        """Yields the nodes below a node, each with what encloses it."""
        match node:
            case ast.Try(body=body):
                kinds: list[ast.expr | None] = []
                for handler in node.handlers:
                    kind = handler.type
                    kinds += kind.elts if isinstance(kind, ast.Tuple) else [kind]
                caught = {"*" if kind is None else _text(kind) for kind in kinds}
                inner = around._replace(caught=around.caught | caught)
                yield from ((child, inner) for child in body)
                rest: list[ast.AST] = [*node.handlers, *node.orelse, *node.finalbody]
                yield from ((child, around) for child in rest)
            case ast.ExceptHandler(type=kind, body=body):
                if kind is not None:
                    yield kind, around._replace(handler=True)
                yield from ((child, around) for child in body)
            case ast.If(test=test) if _text(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                inner = around._replace(caught=around.caught | {"*"})
                yield from ((child, inner) for child in node.body)
                yield from ((child, around) for child in node.orelse)
            case ast.Attribute():
                # At once to what the chain begins with: link by link would be quadratic.
                inside = _beginning(node)
                if not isinstance(inside, ast.Name) or isinstance(node.ctx, ast.Store):
                    yield inside, around
            case _:
                for name, value in ast.iter_fields(node):
                    inner = around
                    if name in ("annotation", "returns"):
                        inner = around._replace(annotation=True)
                    children = value if isinstance(value, list) else [value]
                    yield from ((each, inner) for each in children if isinstance(each, ast.AST))

    def _note_expression(self, node: ast.expr, around: _Around) -> None:
        found = self.index
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                self._note_name(node, around)
                if name == "exec":
                    found.unsure.add("*")
            case ast.Name(id=name):
                found.bound[name] += 1
            case ast.Attribute(ctx=ast.Load()):
                if isinstance(begins := _beginning(node), ast.Name):
                    self._note_name(begins, around)
                    found.dotted.append((self._place(node), _text(node)))
            case ast.Call():
                self._note_call(node)
            case ast.Dict(keys=keys) if None in keys:
                found.unpacking.add(self._place(node))
            case ast.FormattedValue(value=ast.Call() as call):
                found.unused.add(self._place(call))

    def _note_call(self, node: ast.Call) -> None:
        self.index.calls[self._place(node)] = Called(_text(node.func), node)
        for argument in [*node.args, *node.keywords]:
            value = argument.value if isinstance(argument, ast.keyword) else argument
            if isinstance(value, (ast.Constant, ast.UnaryOp, ast.Dict)) and all(
                isinstance(each, _WRITTEN_OUT) for each in ast.walk(value)
            ):
                self.index.constants.add(self._place(argument))

    def _note_statement(self, node: ast.AST) -> None:
        found = self.index
        match node:
            case ast.AsyncFunctionDef(name=name):
                found.coroutines.add(name)
            case ast.Global(names=names):
                found.unsure.update(names)
            case ast.Expr(value=ast.Call() as call):
                found.unused.add(self._place(call))
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=func) as call):
                found.assigned[name] = Called(_text(func), call)
            case ast.Raise(exc=ast.Name() as kind) | ast.Raise(exc=ast.Call(func=kind)):
                found.raised.add(self._place(kind))
            case ast.Return():
                found.returns = True

    def _note_imports(self, node: ast.Import | ast.ImportFrom, around: _Around) -> None:
        index = self.index
        for alias in node.names:
            name, place = alias.name, self._place(alias)
            renamed = f" as {alias.asname}" if alias.asname else ""
            if name == "*":
                index.constructs.append((self._place(node), "wildcard imports"))
                continue
            if isinstance(node, ast.Import):
                found = Import(place, f"import {name}{renamed}", name, "")
                known_as = alias.asname or name.partition(".")[0]
            else:
                module = "." * node.level + (node.module or "")
                found = Import(place, f"from {module} import {name}{renamed}", module, name)
                known_as = alias.asname or name
            index.caught[place] = around.caught
            index.imports.append(found)
            if index.imported.setdefault(known_as, found).statement != found.statement:
                index.bound[known_as] += 1

    def _note_name(self, node: ast.Name, around: _Around) -> None:
        place = self._place(node)
        self.index.reads.setdefault(node.id, []).append(place)
        self.index.caught[place] = around.caught
        if around.annotation:
            self.index.annotations.add(place)
        if around.handler:
            self.index.handlers.add(place)

    def _place(self, node: ast.AST) -> Place:
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        text = self._lines[line - 1]
        if text.isascii():
            return line, column + 1
        if line not in self._columns:
            # Python counts bytes. A table, because a line may hold very many names.
            starts = ((byte & 0xC0) != 0x80 for byte in text)
            self._columns[line] = array("I", accumulate(starts))
        columns = self._columns[line]
        return line, columns[column] if column < len(columns) else len(columns) + 1


def _refused_in_class(node: ast.ClassDef) -> Iterator[tuple[ast.AST, str]]:
    """Yields what the sandbox's parser refuses among the statements of a class."""
    for statement in node.body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from ((each, _METHOD_DECORATORS) for each in statement.decorator_list)
            case ast.Assign(targets=[ast.Name()]) | ast.AnnAssign(target=ast.Name()) | ast.Pass():
                pass
            case ast.Assign() | ast.AnnAssign():
                yield statement, _CLASS_TARGETS
            case ast.Expr(value=ast.Constant(value=str() | types.EllipsisType())) | ast.Delete():
                pass
            case _:
                yield statement, _CLASS_BODIES


def _beginning(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node


def _text(node: ast.expr) -> str:
    """Returns a dotted name as it is written; "" for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(names)])
