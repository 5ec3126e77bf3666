"""All that is wrong with a source, from its types, its syntax and what the sandbox has."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import islice

from durable_monty import codec
from durable_monty.sandbox import remedies
from durable_monty.sandbox.source_index import Called, Import, Place, SourceIndex, index_source
from durable_monty.sandbox.type_check import (
    SYNTAX,
    UNSUPPORTED,
    Checker,
    Complaint,
    Program,
    Verdict,
)
from durable_monty.sandbox.types import Workflow
from durable_monty.sandbox.unawaited import UnawaitedCall, mistake_in

NAME = "unknown-name"
IMPORT = "unknown-import"
ARGUMENTS = "wrong-arguments"
NOT_AWAITED = "not-awaited"
EXCEPT = "unmatched-except"
UNAVAILABLE = "unavailable"
LOST_OUTPUT = "lost-output"

_ARGUMENT_RULES = frozenset(
    "missing-argument parameter-already-assigned positional-only-parameter-as-kwarg "
    "too-many-positional-arguments unknown-argument".split()
)
# What the sandbox is asked about itself: the checker knows another one, with a `datetime.UTC` and
# without an `ImportError`.
_FROM_THE_SANDBOX = {SYNTAX, "unresolved-import", "unresolved-global"}
_AWAIT_RULES = frozenset(
    "invalid-argument-type not-iterable not-subscriptable redundant-condition "
    "unsupported-operator unused-awaitable".split()
)
_UNDEFINED = re.compile(r"Name `(\w+)` used when not defined")
_FUNCTION = re.compile(r"function `(\w+)`")
# A coroutine and nothing else that it may be.
_COROUTINE = re.compile(r"type `(?:CoroutineType|_Future)\[[^|`]*\]`")
_AWAITED = re.compile(r"`(?:CoroutineType|_Future)\[")
_AWAITABLE = ("asyncio.gather", "asyncio.sleep")
_WORD = re.compile(r"\w+")
_LONGEST_NAME = 5
_MOST = 500  # of a source that is nothing but mistakes
_IMPORT_ERRORS = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException", "*"}
_ATTRIBUTE_ERRORS = {"AttributeError", "RuntimeError", "Exception", "BaseException", "*"}
_NAME_ERRORS = {"NameError", "*"}
_RUNTIME_ERRORS = {"PermissionError", "OSError", "RuntimeError", "Exception", "BaseException", "*"}
_DISPLAYS = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.GeneratorExp)


def complaints_of(program: Program, checker: Checker) -> list[Complaint]:
    """All of them, in the order of their places. Raises `HostFault`."""
    verdict = checker.judge(program.source, program.stubs)
    if verdict.refusal is not None and verdict.refusal.rule == SYNTAX:
        return _syntax(program.source, verdict.refusal, verdict.types)
    index = index_source(program.source)
    if index is None:
        # The sandbox takes what this Python cannot parse. Nothing of it is certain.
        found = [each for each in verdict.types if each.rule != SYNTAX]
        return sorted([*found, *filter(None, [verdict.refusal])], key=_place)
    found = [*islice(_Complaints(program, verdict, index, checker).all(), _MOST)]
    first: dict[Place, Complaint] = {}
    for complaint in [*found, *_never_awaited(program, found)]:
        first.setdefault(_place(complaint), complaint)
    return sorted(first.values(), key=_place)


def _never_awaited(program: Program, found: Iterable[Complaint]) -> Iterator[Complaint]:
    """What a run refuses before it begins, unless it is among `found`."""
    inputs = codec.encode(dict.fromkeys(program.inputs))
    functions = dict.fromkeys(program.functions, "")
    mistake = mistake_in(Workflow(program.source, functions, inputs, ""))
    if mistake is not None:
        call = f"{mistake.name}(...), called on line {mistake.line}, "
        if not any(each.message.startswith(call) for each in found):
            yield Complaint(mistake.line, mistake.column, NOT_AWAITED, f"{mistake}.")


def _syntax(source: str, refusal: Complaint, types: Iterable[Complaint]) -> list[Complaint]:
    """Those of a source that is no Python; what else is said of it is noise."""
    for number, line in enumerate(source.split("\n"), 1):
        if line.lstrip().startswith("```"):
            return [Complaint(number, 1, SYNTAX, remedies.FENCE)]
    # The sandbox has `await` and `return` at the top level, which the checker does not.
    wrong = [each for each in types if each.rule == SYNTAX and "outside of" not in each.message]
    found = sorted(wrong or [refusal], key=_place)
    return [replace(each, message=remedies.with_remedy(each.message)) for each in found]


class _Complaints:
    def __init__(
        self, program: Program, verdict: Verdict, index: SourceIndex, checker: Checker
    ) -> None:
        self.program, self.verdict, self.index = program, verdict, index
        self.lines = program.source.split("\n")
        self.is_annotation: dict[str, bool] = {}
        given = {*index.bound, *index.imported, *program.functions, *program.inputs}
        self.unlisted = (index.reads.keys() & remedies.NOT_IN_THE_SANDBOX) - given
        statements = [each.statement for each in index.imports]
        statements += [f"import {each.module}" for each in index.imports if each.member]
        for _place, name in index.dotted:
            statements += [statement for statement, *_ in self._members(name)]
        undefined = set(filter(None, map(_undefined, verdict.types)))
        for name in sorted(undefined | self.unlisted):
            statements += [name, f"import {name}"]
        self.missing = checker.missing(list(dict.fromkeys(statements)))

    def all(self) -> Iterator[Complaint]:
        yield from self._unsupported()
        yield from self._imports()
        yield from self._dotted()
        yield from self._calls()
        for complaint in self.verdict.types:
            yield from self._typed(complaint)
        for name in sorted(self.unlisted):
            for place in self.index.reads[name]:
                yield from self._name(place, name)
        yield from _lost_output(self.index)

    def _unsupported(self) -> Iterator[Complaint]:
        refusal = self.verdict.refusal
        if refusal is None:
            return  # a sandbox that is newer than our list
        found = self.index.constructs
        for place, construct in found:
            yield Complaint(*place, UNSUPPORTED, remedies.unsupported(construct))
        if all(line != refusal.line for (line, _column), _construct in found):
            yield replace(refusal, message=remedies.refused(refusal.message))

    def _imports(self) -> Iterator[Complaint]:
        for each in self.index.imports:
            if each.statement in self.missing and not self._is_caught(each.place, _IMPORT_ERRORS):
                is_module = not each.member or f"import {each.module}" in self.missing
                text = (
                    remedies.missing_module(each.module)
                    if is_module
                    else remedies.missing_member(each.module, each.member)
                )
                yield Complaint(*each.place, IMPORT, text)

    def _dotted(self) -> Iterator[Complaint]:
        for place, name in self.index.dotted:
            if self._is_caught(place, _ATTRIBUTE_ERRORS):
                continue
            for statement, owner, member in self._members(name):
                if statement in self.missing and statement.split("\n")[0] not in self.missing:
                    rule = EXCEPT if place in self.index.handlers else IMPORT
                    yield Complaint(*place, rule, remedies.missing_member(owner, member))
                    break

    def _members(self, name: str) -> Iterator[tuple[str, str, str]]:
        """What the sandbox can be asked about a dotted name: statement, owner and member."""
        known = self._import_of(name)
        parts = name.split(".")[:_LONGEST_NAME]
        if known is None:
            return
        for end in range(1, len(parts)):
            owner, member = self._full_name(".".join(parts[:end])), parts[end]
            # It can read any attribute of a module, and of a class not the methods.
            if (end == 1 and not known.member) or remedies.has_remedy(owner, member):
                yield f"{known.statement}\n{'.'.join(parts[: end + 1])}", owner, member

    def _calls(self) -> Iterator[Complaint]:
        index = self.index
        ours = {name for name in self.program.functions if not index.bound[name]}
        ours |= {name for name in index.coroutines if index.bound[name] == 1}
        for place, called in index.calls.items():
            name = self._full_name(called.name)
            if place in index.unused and (name in ours or name in _AWAITABLE):
                yield Complaint(*place, NOT_AWAITED, _unawaited_text(called))
            elif name == "asyncio.gather":
                yield from _gather(place, called.node)
            elif name in remedies.ALWAYS_FAILING and not (
                index.bound[name] or self._is_caught(place, _RUNTIME_ERRORS)
            ):
                yield Complaint(*place, UNAVAILABLE, remedies.ALWAYS_FAILING[name])

    def _typed(self, complaint: Complaint) -> Iterator[Complaint]:
        place, message = (complaint.line, complaint.column), complaint.message
        if complaint.rule in _FROM_THE_SANDBOX or message.startswith("Module `"):
            return
        if name := _undefined(complaint):
            yield from self._name(place, name) if self._is_needed(place, name) else [complaint]
        elif complaint.rule in _ARGUMENT_RULES:
            is_certain = _function_in(message) in self.program.certain
            yield replace(complaint, rule=ARGUMENTS) if is_certain else complaint
        elif self.verdict.refusal is not None and complaint.rule == "not-iterable":
            return  # `async for`, which is complained of
        elif complaint.rule in _AWAIT_RULES and _AWAITED.search(message):
            yield self._not_awaited(complaint, place)
        else:
            yield complaint

    def _name(self, place: Place, name: str) -> Iterator[Complaint]:
        if name not in self.missing or self._is_caught(place, _NAME_ERRORS):
            return
        if place in self.index.handlers:
            text = remedies.unmatched_except(name, self.program.raised.get(name))
            yield Complaint(*place, EXCEPT, text)
        elif self._is_needed(place, name):
            yield Complaint(*place, NAME, self._undefined_text(place, name))

    def _is_needed(self, place: Place, name: str) -> bool:
        """Whether the name must be defined for the source to run."""
        index = self.index
        if name in index.unsure or "*" in index.unsure:
            return False
        # Python 3.11 does not know where in a long f-string a name stands.
        if place in index.caught:
            return place not in index.annotations
        if name not in self.is_annotation:
            places = index.reads.get(name, [])
            self.is_annotation[name] = not places or not index.annotations.isdisjoint(places)
        return not self.is_annotation[name]

    def _undefined_text(self, place: Place, name: str) -> str:
        if f"import {name}" not in self.missing:
            return f"name {name!r} is not defined. Write: import {name}."
        if place in self.index.raised or name in self.program.raised:
            return remedies.unknown_exception(name, self.program.raised.get(name))
        called = self.index.calls.get(place)
        if called is not None and called.name == name:
            text = remedies.unknown_function(name, self.program.functions)
            return text.rstrip(".") + "."
        return remedies.unknown_name(name, {*self.program.functions, *self.program.inputs})

    def _not_awaited(self, complaint: Complaint, place: Place) -> Complaint:
        called = self.index.calls.get(place)
        if called is None:
            match = _WORD.match(self.lines[complaint.line - 1], complaint.column - 1)
            called = self.index.assigned.get(match[0]) if match else None
        text = remedies.NOT_AWAITED
        if called is not None and called.name:
            text = _unawaited_text(called)
        is_certain = bool(_COROUTINE.search(complaint.message))
        if complaint.rule == "invalid-argument-type":
            is_certain = _function_in(complaint.message) in self.program.functions
        rule = NOT_AWAITED if is_certain else complaint.rule
        return replace(complaint, rule=rule, message=text)

    def _import_of(self, name: str) -> Import | None:
        root = name.partition(".")[0]
        return None if root in self.index.bound else self.index.imported.get(root)

    def _full_name(self, name: str) -> str:
        """With the module that the first part was imported from."""
        known = self._import_of(name)
        _root, dot, rest = name.partition(".")
        if known is None or known.statement == f"import {known.module}":
            return name
        owner = f"{known.module}.{known.member}" if known.member else known.module
        return f"{owner}{dot}{rest}"

    def _is_caught(self, place: Place, errors: Collection[str]) -> bool:
        return not self.index.caught.get(place, frozenset()).isdisjoint(errors)


def _undefined(complaint: Complaint) -> str | None:
    match = _UNDEFINED.match(complaint.message)
    return match[1] if match and complaint.rule == "unresolved-reference" else None


def _function_in(message: str) -> str:
    match = _FUNCTION.search(message)
    return match[1] if match else ""


def _gather(place: Place, call: ast.Call) -> Iterator[Complaint]:
    if call.keywords:
        yield Complaint(*place, ARGUMENTS, remedies.GATHER_KEYWORDS)
    elif any(isinstance(each, _DISPLAYS) for each in call.args):
        yield Complaint(*place, ARGUMENTS, remedies.GATHER_LIST)


def _unawaited_text(called: Called) -> str:
    return f"{UnawaitedCall(called.name, called.node.lineno, 0)}."


def _lost_output(index: SourceIndex) -> Iterator[Complaint]:
    match index.tree.body[-1:]:
        case [ast.Assign(targets=[ast.Name(id=name)], value=ast.Await()) as last]:
            if not index.returns:
                text = remedies.lost_output(name)
                yield Complaint(last.lineno, last.col_offset + 1, LOST_OUTPUT, text)


def _place(complaint: Complaint) -> Place:
    return complaint.line, complaint.column
