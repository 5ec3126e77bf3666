"""Collects the mistakes of a source: of its types, its syntax, and the names it uses."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import islice

from durable_monty import codec
from durable_monty.sandbox import remedies
from durable_monty.sandbox.argument_types import (
    ARGUMENT_TYPE,
    AWAITED,
    without_false_alarms,
)
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
# The sandbox itself answers these: its type checker knows another Python, which has `datetime.UTC`
# and no `ImportError`.
_FROM_THE_SANDBOX = {SYNTAX, "unresolved-import", "unresolved-global"}
_AWAIT_RULES = frozenset(
    "invalid-argument-type not-iterable not-subscriptable redundant-condition "
    "unsupported-operator unused-awaitable".split()
)
_UNDEFINED = re.compile(r"Name `(\w+)` used when not defined")
_FUNCTION = re.compile(r"function `(\w+)`")
# A type that can only be a coroutine.
_COROUTINE = re.compile(r"type `(?:CoroutineType|_Future)\[[^|`]*\]`")
_AWAITABLE = ("asyncio.gather", "asyncio.sleep")
_WORD = re.compile(r"\w+")
_LONGEST_NAME = 5
_MOST = 500  # a source can be nothing but mistakes
_IMPORT_ERRORS = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException", "*"}
_ATTRIBUTE_ERRORS = {"AttributeError", "RuntimeError", "Exception", "BaseException", "*"}
_NAME_ERRORS = {"NameError", "*"}
_RUNTIME_ERRORS = {"PermissionError", "OSError", "RuntimeError", "Exception", "BaseException", "*"}
_DISPLAYS = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.GeneratorExp)


def complaints_of(program: Program, checker: Checker) -> list[Complaint]:
    """Returns all complaints about a program, sorted by place. Raises `HostFault`."""
    verdict = checker.judge(program.source, program.stubs)
    if verdict.refusal is not None and verdict.refusal.rule == SYNTAX:
        return _syntax(program.source, verdict.refusal, verdict.types)
    index = index_source(program.source)
    if index is None:
        # The sandbox may know a newer Python than this host: then no complaint is certain.
        found = [each for each in verdict.types if each.rule != SYNTAX]
        return sorted([*found, *filter(None, [verdict.refusal])], key=_place)
    verdict = without_false_alarms(verdict, program, index, checker)
    found = [*islice(_Complaints(program, verdict, index, checker).all(), _MOST)]
    inputs = codec.encode(dict.fromkeys(program.inputs))
    workflow = Workflow(program.source, dict.fromkeys(program.functions, ""), inputs, "")
    # A run refuses this call before it begins, so the check has to name it, too.
    if mistake := mistake_in(workflow):
        call = f"{mistake.name}(...), called on line {mistake.line}, "
        if not any(each.message.startswith(call) for each in found):
            found.append(Complaint(mistake.line, mistake.column, NOT_AWAITED, f"{mistake}."))
    first: dict[Place, Complaint] = {}
    for complaint in found:
        first.setdefault(_place(complaint), complaint)
    return sorted(first.values(), key=_place)


def _syntax(source: str, refusal: Complaint, types: Iterable[Complaint]) -> list[Complaint]:
    """Returns the complaints about a source that is not Python; all others would be noise."""
    for number, line in enumerate(source.split("\n"), 1):
        if line.lstrip().startswith("```"):
            return [Complaint(number, 1, SYNTAX, remedies.FENCE)]
    # The sandbox has `await` and `return` at the top level, which the checker does not.
    wrong = [each for each in types if each.rule == SYNTAX and "outside of" not in each.message]
    found = sorted(wrong or [refusal], key=_place)
    return [replace(each, message=remedies.with_remedy(each.message)) for each in found]


class _Complaints:
    """The complaints about a source that Python can parse."""

    def __init__(
        self, program: Program, verdict: Verdict, index: SourceIndex, checker: Checker
    ) -> None:
        self.program, self.verdict, self.index = program, verdict, index
        self.lines = program.source.split("\n")
        self.is_annotation: dict[str, bool] = {}
        self.given = {*program.functions, *program.inputs}
        given = {*index.bound, *index.imported, *self.given}
        self.unlisted = (index.reads.keys() & remedies.NOT_IN_THE_SANDBOX) - given
        statements = [each.statement for each in index.imports]
        statements += [f"import {each.module}" for each in index.imports if each.member]
        for _place, name in index.dotted:
            statements += [statement for statement, *_ in self._members(name)]
        # The checker does not read names with an underscore at their beginning from stubs.
        undefined = set(filter(None, map(_undefined, verdict.types))) - self.given
        for name in sorted(undefined | self.unlisted):
            statements += [name, f"import {name}"]
        self.missing = checker.missing(list(dict.fromkeys(statements)))

    def all(self) -> Iterator[Complaint]:
        refusal, constructs = self.verdict.refusal, self.index.constructs
        if refusal is not None:  # else the sandbox is newer than our list of constructs
            for place, construct in constructs:
                yield Complaint(*place, UNSUPPORTED, remedies.unsupported(construct))
            if all(line != refusal.line for (line, _column), _construct in constructs):
                yield replace(refusal, message=remedies.refused(refusal.message))
        yield from self._imports()
        yield from self._calls()
        for complaint in self.verdict.types:
            yield from self._typed(complaint)
        for name in sorted(self.unlisted):
            for place in self.index.reads[name]:
                yield from self._name(place, name)
        match self.index.tree.body[-1:]:
            case [ast.Assign(targets=[ast.Name(id=name)], value=ast.Await()) as last]:
                if not self.index.returns:
                    place = (last.lineno, last.col_offset + 1)
                    yield Complaint(*place, LOST_OUTPUT, remedies.lost_output(name))

    def _imports(self) -> Iterator[Complaint]:
        """Yields the imports that the sandbox does not have, and the members of its modules."""
        for each in self.index.imports:
            if each.statement in self.missing and not self._is_caught(each.place, _IMPORT_ERRORS):
                text = remedies.missing_member(each.module, each.member)
                if not each.member or f"import {each.module}" in self.missing:
                    text = remedies.missing_module(each.module)
                yield Complaint(*each.place, IMPORT, text)
        for place, name in self.index.dotted:
            if self._is_caught(place, _ATTRIBUTE_ERRORS):
                continue
            for statement, owner, member in self._members(name):
                if statement in self.missing and statement.split("\n")[0] not in self.missing:
                    rule = EXCEPT if place in self.index.handlers else IMPORT
                    yield Complaint(*place, rule, remedies.missing_member(owner, member))
                    break

    def _members(self, name: str) -> Iterator[tuple[str, str, str]]:
        """Yields statement, owner and member for each part of a dotted name that the sandbox can
        be asked about."""
        known = self._import_of(name)
        parts = name.split(".")[:_LONGEST_NAME]
        if known is None:
            return
        for end in range(1, len(parts)):
            owner, member = self._full_name(".".join(parts[:end])), parts[end]
            # It can read any attribute of a module, and no methods of a class.
            if (end == 1 and not known.member) or remedies.has_remedy(owner, member):
                yield f"{known.statement}\n{'.'.join(parts[: end + 1])}", owner, member

    def _calls(self) -> Iterator[Complaint]:
        """Yields the calls that can only fail, or whose coroutine nothing awaits."""
        index = self.index
        ours = {name for name in self.program.functions if not index.bound[name]}
        ours |= {name for name in index.coroutines if index.bound[name] == 1}
        for place, called in index.calls.items():
            name = self._full_name(called.name)
            if place in index.unused and (name in ours or name in _AWAITABLE):
                yield Complaint(*place, NOT_AWAITED, _unawaited_text(called))
            elif name == "asyncio.gather" and called.node.keywords:
                yield Complaint(*place, ARGUMENTS, remedies.GATHER_KEYWORDS)
            elif name == "asyncio.gather":
                if any(isinstance(each, _DISPLAYS) for each in called.node.args):
                    yield Complaint(*place, ARGUMENTS, remedies.GATHER_LIST)
            elif name in remedies.ALWAYS_FAILING and not (
                index.bound[name] or self._is_caught(place, _RUNTIME_ERRORS)
            ):
                yield Complaint(*place, UNAVAILABLE, remedies.ALWAYS_FAILING[name])

    def _typed(self, complaint: Complaint) -> Iterator[Complaint]:
        """Yields what is left of a complaint of the type checker, in our words."""
        place, message = (complaint.line, complaint.column), complaint.message
        if complaint.rule in _FROM_THE_SANDBOX or message.startswith("Module `"):
            return
        if name := _undefined(complaint):
            if name in self.given:
                return
            yield from self._name(place, name) if self._is_needed(place, name) else [complaint]
        elif complaint.rule in _ARGUMENT_RULES:
            is_certain = _function_in(message) in self.program.certain
            yield replace(complaint, rule=ARGUMENTS) if is_certain else complaint
        elif self.verdict.refusal is not None and complaint.rule == "not-iterable":
            return  # an `async for`, which has its own complaint
        elif complaint.rule in _AWAIT_RULES and AWAITED.search(message):
            called = self.index.calls.get(place)
            if called is None:
                word = _WORD.match(self.lines[complaint.line - 1], complaint.column - 1)
                called = self.index.assigned.get(word[0]) if word else None
            text = remedies.NOT_AWAITED
            if called is not None and called.name:
                text = _unawaited_text(called)
            is_certain = bool(_COROUTINE.search(message))
            if complaint.rule == ARGUMENT_TYPE:
                is_certain = _function_in(message) in self.program.functions
            yield replace(
                complaint, rule=NOT_AWAITED if is_certain else complaint.rule, message=text
            )
        else:
            yield complaint

    def _name(self, place: Place, name: str) -> Iterator[Complaint]:
        """Yields the complaint about a name that the sandbox does not have, if it is needed."""
        if name not in self.missing or self._is_caught(place, _NAME_ERRORS):
            return
        caught_as, called = self.program.raised.get(name), self.index.calls.get(place)
        if place in self.index.handlers:
            yield Complaint(*place, EXCEPT, remedies.unmatched_except(name, caught_as))
        elif self._is_needed(place, name):
            if f"import {name}" not in self.missing:
                text = f"name {name!r} is not defined. Write: import {name}."
            elif place in self.index.raised or caught_as is not None:
                text = remedies.unknown_exception(name, caught_as)
            elif called is not None and called.name == name:
                text = remedies.unknown_function(name, self.program.functions).rstrip(".") + "."
            else:
                text = remedies.unknown_name(name, self.given)
            yield Complaint(*place, NAME, text)

    def _is_needed(self, place: Place, name: str) -> bool:
        """Returns whether the name must be defined for the source to run."""
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

    def _import_of(self, name: str) -> Import | None:
        root = name.partition(".")[0]
        return None if root in self.index.bound else self.index.imported.get(root)

    def _full_name(self, name: str) -> str:
        """Returns a dotted name with the module that its first part was imported from."""
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


def _unawaited_text(called: Called) -> str:
    return f"{UnawaitedCall(called.name, called.node.lineno, 0)}."


def _place(complaint: Complaint) -> Place:
    return complaint.line, complaint.column
