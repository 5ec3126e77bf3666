"""Calls that nothing awaits, as far as the source of a workflow tells."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from durable_monty import codec
from durable_monty.sandbox.flow import End, Flow
from durable_monty.sandbox.types import Position, Workflow

_AWAITING = (End.AWAITED, End.AWAITED_BESIDE, End.UNKNOWN)
_LEAVING = (End.ASKED, End.OUTPUT, End.UNKNOWN)
_AWAITABLE = ("asyncio.gather", "asyncio.sleep")
_DOUBTS = (End.UNKNOWN, End.GATHERED, End.AWAITED_BESIDE)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_CATCHING = (ast.Try, ast.With)


class UnawaitedCall(NamedTuple):
    """A call whose `await` is missing. `used_on`: the line on which its coroutine is tested,
    compared or written into a text, if it may be awaited after that; `variable`: its name then."""

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
    """Which of the sandbox's own objects a source may let out of it, where they come as texts:
    coroutines of its functions and these functions, by name, and gathers."""

    coroutines: Collection[str]
    functions: Collection[str]
    gathers: bool

    def may_be(self, kind: str, name: str) -> bool:
        """`kind`: `coroutine`, `function` or `gather`."""
        if kind == "gather":
            return self.gathers
        return name in (self.coroutines if kind == "coroutine" else self.functions)


def mistake_in(workflow: Workflow) -> UnawaitedCall | None:
    """The first call that nothing can await. Finds none in a source that this Python does not
    parse, or that uses `eval` and its like."""
    mistakes = _mistakes(workflow.source, frozenset(workflow.functions))
    inputs = codec.decode(workflow.inputs) if mistakes else ()
    return next((each for each in mistakes if each.variable not in inputs), None)


@lru_cache(maxsize=128)
def _mistakes(source: str, functions: frozenset[str]) -> tuple[UnawaitedCall, ...]:
    flow = _flow_of(source, functions)
    return () if flow is None else (*_never_awaited(flow), *_used(flow))


@lru_cache(maxsize=16)
def leaving(source: str, functions: frozenset[str]) -> Leaving | None:
    """None if that is not known."""
    flow = _flow_of(source, functions)
    if flow is None:
        return None
    calls = {call.func: call for call in flow.scopes.calls}
    return Leaving(
        frozenset(_leaving_coroutines(flow, calls)),
        frozenset(_leaving_functions(flow, calls)),
        any(
            flow.scopes.stands_for(node) == "asyncio.gather"
            and (node not in calls or flow.goes(calls[node], *_LEAVING))
            for node, _scope in flow.scopes.nodes
        ),
    )


@lru_cache(maxsize=128)
def may_forget(source: str, functions: frozenset[str]) -> bool:
    """Whether `not_given_up` can find anything in a source."""
    if "gather" not in source:
        return True
    flow = _flow_of(source, functions)
    if flow is None or not _catches(flow):
        return flow is not None
    awaited = {node.value for node, _scope in flow.scopes.nodes if isinstance(node, ast.Await)}
    return any(
        call not in awaited and _may_be_outside(flow, call) and not flow.goes(call, *_DOUBTS)
        for call in flow.scopes.calls
    )


def not_given_up(
    source: str, functions: Collection[str], positions: Collection[Position]
) -> set[Position]:
    """Those of these calls, unanswered when the workflow had completed, that nobody awaited.

    An `await gather(a(), b())` that raises gives up the calls that have no answer yet.
    """
    places, names = set(positions), frozenset(functions)
    if not may_forget(source, names):
        return set()
    if "gather" not in source or (flow := _flow_of(source, names)) is None:
        return places
    if not _catches(flow):
        return places  # what a gather raises ends the workflow
    starts = _starts_of_lines(source)
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
    """What the source calls what this call makes a coroutine of; empty if it makes none."""
    called = flow.scopes.stands_for(call.func)
    is_own = isinstance(flow.scopes.own(call.func), ast.AsyncFunctionDef)
    is_method = flow.scopes.is_method(call.func)
    if is_own or is_method or called in flow.scopes.functions or called in _AWAITABLE:
        return ast.unparse(call.func)
    return ""


def _may_be_outside(flow: Flow, call: ast.Call) -> bool:
    is_variable = isinstance(call.func, ast.Name) and not flow.scopes.stands_for(call.func)
    return bool(_coroutine_name(flow, call)) or is_variable


def _never_awaited(flow: Flow) -> list[UnawaitedCall]:
    """The first one of them: a workflow of thousands need not keep them all."""
    lost = [
        call
        for call in flow.scopes.calls
        if _coroutine_name(flow, call) and not flow.goes(call, *_AWAITING, End.ASKED)
    ]
    return [_unawaited(flow, call) for call in sorted(lost, key=_place)[:1]]


def _used(flow: Flow) -> list[UnawaitedCall]:
    """Of variables that never hold anything but a coroutine, the first use of each."""
    made: dict[str, list[ast.Call]] = defaultdict(list)
    uses: dict[str, list[ast.Name]] = defaultdict(list)
    for node, _scope in flow.scopes.nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call):
                made[name].append(call)
            case _:
                for name_used in _looked_at(node):
                    uses[name_used.id].append(name_used)
    found = []
    for name, names in uses.items():
        calls = made[name] if len(made[name]) == flow.scopes.times_bound(name) else []
        if calls and all(_coroutine_name(flow, call) for call in calls):
            line = min(names, key=_place).lineno
            found.append(
                _unawaited(flow, min(calls, key=_place))._replace(used_on=line, variable=name)
            )
    return sorted(found, key=lambda each: (each.line, each.column))[:_MOST]


_MOST = 20  # that are kept: those of inputs do not count


def _looked_at(node: ast.AST) -> Iterable[ast.Name]:
    """The variables whose values are tested, compared or written into a text here."""
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


def _leaving_coroutines(flow: Flow, calls: Mapping[ast.expr, ast.Call]) -> Iterator[str]:
    """`calls`: by what they call."""
    for node, _scope in flow.scopes.nodes:
        if isinstance(node, ast.AsyncFunctionDef) and not flow.scopes.is_own(node):
            yield node.name
    for name in flow.scopes.names:
        own = flow.scopes.own(name)
        leaves = name not in calls or flow.goes(calls[name], *_LEAVING)
        if leaves and isinstance(own, ast.AsyncFunctionDef):
            yield own.name


def _leaving_functions(flow: Flow, calls: Mapping[ast.expr, ast.Call]) -> Iterator[str]:
    for node, _scope in flow.scopes.nodes:
        if isinstance(node, ast.Lambda):
            yield "<lambda>"
        elif isinstance(node, _FUNCTIONS) and not flow.scopes.is_own(node):
            yield node.name
    for name in flow.scopes.names:
        if name not in calls and (own := flow.scopes.own(name)) is not None:
            yield own.name


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


def _starts_of_lines(source: str) -> list[int]:
    """The place of each line's first byte."""
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts
