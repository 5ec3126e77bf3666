"""Calls that a run ended without: told apart by where they stand in the source."""

from __future__ import annotations

import ast
from collections.abc import Collection

from durable_monty.sandbox.journal import Position


def forgotten(source: str, positions: Collection[Position]) -> set[Position]:
    """Where a call stands in no `await`, and goes into nothing that stands in one.

    An `await gather(a(), b())` can raise before it has waited for all of its calls: if one has
    failed by then, the others are given up and not forgotten.
    """
    places = set(positions)
    if not places:
        return places
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return places  # the sandbox, which has run it, knows a Python that this host does not
    starts = _starts_of_lines(source)
    awaited = {
        name.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Await)
        for name in ast.walk(node.value)
        if isinstance(name, ast.Name)
    }
    return {
        place for place in places if not _may_be_awaited(_path_to(tree, place, starts), awaited)
    }


def _may_be_awaited(path: Collection[ast.AST], awaited: set[str]) -> bool:
    """`awaited`: the names that stand in an `await`."""
    return any(
        isinstance(node, ast.Await) or not awaited.isdisjoint(_kept_in(node)) for node in path
    )


def _kept_in(node: ast.AST) -> set[str]:
    """The names by which the values under this node are known afterwards."""
    match node:
        case ast.Assign(targets=targets):
            kept: list[ast.expr] = targets
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            kept = [target]
        case ast.NamedExpr(target=target):
            kept = [target]
        case ast.Call(func=ast.Attribute(value=value)):  # calls.append(f(1))
            kept = [value]
        case _:
            kept = []
    return {name.id for each in kept for name in ast.walk(each) if isinstance(name, ast.Name)}


def _path_to(tree: ast.Module, position: Position, starts: list[int]) -> list[ast.AST]:
    """The nodes around the expression at these bytes, from the outermost."""
    path: list[ast.AST] = []
    nodes = list(ast.iter_child_nodes(tree))
    while nodes:
        node = nodes.pop()
        if not isinstance(node, ast.stmt | ast.expr | ast.keyword | ast.excepthandler):
            nodes += ast.iter_child_nodes(node)  # it has no place: a comprehension's clause
            continue
        assert node.end_lineno is not None  # noqa: S101  (a parsed one)
        assert node.end_col_offset is not None  # noqa: S101
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        if start <= position.start and position.end <= end:
            path.append(node)
            nodes = list(ast.iter_child_nodes(node))
    return path


def _starts_of_lines(source: str) -> list[int]:
    """The place of each line's first byte."""
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts
