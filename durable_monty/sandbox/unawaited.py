"""Finds calls that nothing awaits, by the source of a workflow."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from durable_monty import codec
from durable_monty.sandbox.flow import End, Flow
from durable_monty.sandbox.types import Position, Workflow

_AWAITING = (End.AWAITED, End.AWAITED_BESIDE, End.UNKNOWN)
_LEAVING = (End.PASSED, End.OUTPUT, End.UNKNOWN)
_AWAITABLE = ("asyncio.gather", "asyncio.sleep")
_DOUBTS = (End.UNKNOWN, End.GATHERED, End.AWAITED_BESIDE)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_CATCHING = (ast.Try, ast.With)
_MOST = 20  # mistakes with a variable that are kept: those of an input's name do not count


class UnawaitedCall(NamedTuple):
    """A call whose `await` is missing.

    `used_on` is the line that tests, compares or formats its coroutine, if the call may be awaited
    after that; `variable` is the name of the coroutine then.
    """

    name: str
    line: int
    column: int
    used_on: int = 0
    variable: str = ""

    def __str__(self) -> str:
        call = f"{self.name}(...), called on line {self.line},"
        if self.used_on:
            was = f"is used on line {self.used_on} before it is awaited"
        else:
            was = "was never awaited"
        return f"{call} {was}. Write: await {self.name}(...)"


@dataclass(frozen=True, slots=True)
class Leaving:
    """The sandbox's own objects that a source may let out of it, where they arrive as texts:
    coroutines of its functions and these functions, by name, and gathers."""

    coroutines: Collection[str]
    functions: Collection[str]
    gathers: bool

    def may_be(self, kind: str, name: str) -> bool:
        """Returns whether such an object can leave: a `coroutine`, `function` or `gather`."""
        if kind == "gather":
            return self.gathers
        return name in (self.coroutines if kind == "coroutine" else self.functions)


def mistake_in(workflow: Workflow) -> UnawaitedCall | None:
    """Returns the first call that nothing can await.

    Finds none in a source that this Python does not parse, or that uses `eval` and its like.
    """
    mistakes = _mistakes(workflow.source, frozenset(workflow.functions))
    inputs = codec.decode(workflow.variables) if mistakes else ()
    return next((each for each in mistakes if each.variable not in inputs), None)


@lru_cache(maxsize=128)
def _mistakes(source: str, functions: frozenset[str]) -> tuple[UnawaitedCall, ...]:
    """Returns the first call that is never awaited, and the first use of each variable that never
    holds anything but a coroutine."""
    flow = _flow_of(source, functions)
    if flow is None:
        return ()
    lost = [
        call
        for call in flow.scopes.calls
        if _coroutine_name(flow, call) and not flow.goes(call, *_AWAITING, End.PASSED)
    ]
    # A source of thousands of such calls need not keep them all.
    first = [_unawaited(flow, min(lost, key=_place))] if lost else []
    made: dict[str, list[ast.Call]] = defaultdict(list)
    uses: dict[str, list[ast.Name]] = defaultdict(list)
    for node, _scope in flow.scopes.nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call):
                made[name].append(call)
            case _:
                for read in _read_by(node):
                    uses[read.id].append(read)
    used = []
    for name, names in uses.items():
        calls = made[name] if len(made[name]) == flow.scopes.times_bound(name) else []
        if calls and all(_coroutine_name(flow, call) for call in calls):
            line = min(names, key=_place).lineno
            mistake = _unawaited(flow, min(calls, key=_place))
            used.append(mistake._replace(used_on=line, variable=name))
    return (*first, *sorted(used, key=lambda each: (each.line, each.column))[:_MOST])


@lru_cache(maxsize=16)
def leaving(source: str, functions: frozenset[str]) -> Leaving | None:
    """Returns the objects that may leave the sandbox; None if that is not known."""
    flow = _flow_of(source, functions)
    if flow is None:
        return None
    scopes = flow.scopes
    calls = {call.func: call for call in scopes.calls}
    nodes = [node for node, _scope in scopes.nodes]
    # The name of a function that is not its own any more may stand for anything.
    held = [node for node in nodes if isinstance(node, _FUNCTIONS) and not scopes.is_own(node)]
    held += [own for name in scopes.names if name not in calls and (own := scopes.own(name))]
    made = [
        own
        for name in scopes.names
        if name in calls and (own := scopes.own(name)) and flow.goes(calls[name], *_LEAVING)
    ]
    lambdas = {"<lambda>" for node in nodes if isinstance(node, ast.Lambda)}
    return Leaving(
        {own.name for own in (*held, *made) if isinstance(own, ast.AsyncFunctionDef)},
        {own.name for own in held} | lambdas,
        any(
            scopes.stands_for(node) == "asyncio.gather"
            and (node not in calls or flow.goes(calls[node], *_LEAVING))
            for node in nodes
        ),
    )


@lru_cache(maxsize=128)
def may_forget(source: str, functions: frozenset[str]) -> bool:
    """Returns whether `not_given_up` can find anything in a source."""
    if "gather" not in source:
        return True
    flow = _flow_of(source, functions)
    if flow is None or not _catches(flow):
        return flow is not None
    awaited = {node.value for node, _scope in flow.scopes.nodes if isinstance(node, ast.Await)}
    for call in flow.scopes.calls:
        is_variable = isinstance(call.func, ast.Name) and not flow.scopes.stands_for(call.func)
        may_be_outside = is_variable or _coroutine_name(flow, call)
        if call not in awaited and may_be_outside and not flow.goes(call, *_DOUBTS):
            return True
    return False


def not_given_up(
    source: str, functions: Collection[str], positions: Collection[Position]
) -> set[Position]:
    """Returns the places of the calls that nobody awaited, among those without an answer when the
    workflow had completed.

    An `await gather(a(), b())` that raises gives up its other calls: they were awaited.
    """
    places, names = set(positions), frozenset(functions)
    if not may_forget(source, names):
        return set()
    if "gather" not in source or (flow := _flow_of(source, names)) is None:
        return places
    if not _catches(flow):
        return places  # what a gather raises ends the workflow
    lines = source.encode().splitlines(keepends=True)
    starts = [*accumulate(map(len, lines), initial=0)]
    calls = [node for node in flow.scopes.calls if _position(node, starts) in places]
    return {_position(call, starts) for call in calls if not flow.goes(call, *_DOUBTS)}


def _catches(flow: Flow) -> bool:
    return any(isinstance(node, _CATCHING) for node, _scope in flow.scopes.nodes)


def _flow_of(source: str, functions: frozenset[str]) -> Flow | None:
    try:
        flow = Flow(ast.parse(source), functions)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # the sandbox may know a Python that this host does not
    return None if flow.is_hidden else flow


def _coroutine_name(flow: Flow, call: ast.Call) -> str:
    """Returns the source's name of what a call makes a coroutine of; empty if it makes none."""
    called = flow.scopes.stands_for(call.func)
    is_own = isinstance(flow.scopes.own(call.func), ast.AsyncFunctionDef)
    is_method = flow.scopes.is_method(call.func)
    if is_own or is_method or called in flow.scopes.functions or called in _AWAITABLE:
        return ast.unparse(call.func)
    return ""


def _read_by(node: ast.AST) -> Iterable[ast.Name]:
    """Returns the variables whose values a node tests, compares or writes into a text."""
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            values = [test]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            values = [operand]
        case ast.BoolOp(values=operands):
            values = operands[:-1]
        case ast.Compare(left=left, ops=ops, comparators=others) if not any(
            isinstance(op, ast.Is | ast.IsNot | ast.In | ast.NotIn) for op in ops
        ):
            values = [left, *others]
        case ast.FormattedValue(value=value):
            values = [value]
        case ast.Call(func=ast.Name(id="str" | "format" | "bool"), args=args):
            values = args
        case _:
            values = []
    return [value for value in values if isinstance(value, ast.Name)]


def _unawaited(flow: Flow, call: ast.Call) -> UnawaitedCall:
    return UnawaitedCall(_coroutine_name(flow, call), call.lineno, call.col_offset + 1)


def _place(node: ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _position(node: ast.expr, starts: list[int]) -> Position:
    assert node.end_lineno is not None  # noqa: S101  (a parsed one)
    assert node.end_col_offset is not None  # noqa: S101
    return Position(
        starts[node.lineno - 1] + node.col_offset,
        starts[node.end_lineno - 1] + node.end_col_offset,
    )
