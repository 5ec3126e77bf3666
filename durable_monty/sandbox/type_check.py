"""Asking the sandbox what it thinks of a source, without letting it do anything."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from pydantic_monty import (
    FunctionSnapshot,
    Monty,
    MontyComplete,
    MontyError,
    MontyRuntimeError,
    MontySession,
    MontySyntaxError,
    MontyTypingError,
)

from durable_monty.exceptions import HostFault
from durable_monty.sandbox.pool import own_pool

SYNTAX = "invalid-syntax"
UNSUPPORTED = "unsupported-syntax"
# This call is the first line of what is checked. It stops the run before the source begins.
_STOP = "durable_monty_check"
_STUB = f"def {_STOP}() -> None: ...\n"
_IMPORT = "import_stubs"
_LINE = re.compile(r"line (\d+)")
_SECONDS = 3.0
_MEMORY = 256 * 1024 * 1024
_MOST_QUESTIONS = 500


@dataclass(frozen=True, slots=True)
class Program:
    """A source and the names that it finds. `stubs` declares them. `certain`: the functions that
    no other arguments than those of their stub can be passed to. `raised`: the exceptions that
    its functions know by name -> the name that the workflow catches them by."""

    source: str
    stubs: str
    functions: Collection[str] = ()
    inputs: Collection[str] = ()
    certain: Collection[str] = ()
    raised: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Complaint:
    """Says what is wrong at a place of the source. Lines and columns count from 1. `rule` is one
    that durable_monty names, see `durable_monty.program_check`, or a rule of the type checker."""

    line: int
    column: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"Line {self.line}, column {self.column}: {self.message.rstrip('.')}."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the type checker complains of, and what the parser of the sandbox refuses first."""

    types: tuple[Complaint, ...] = ()
    refusal: Complaint | None = None


class Checker:
    """A sandbox process that checks one source after another; use it in a `with`.

    It is a process of its own, and ends with the `with`: a web process keeps none, and a worker
    whose processes are all busy can still check. Its methods raise `HostFault`.
    """

    def __init__(self) -> None:
        self._pool: Monty | None = None

    def __enter__(self) -> Self:
        self._pool = own_pool(_SECONDS).__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.__exit__(None, None, None)

    def judge(self, source: str, stubs: str) -> Verdict:
        """Checks a source. `stubs` declares what it finds as its globals."""
        stopped = f"{_STOP}()\n{source}"
        try:
            return self._judge(stopped, stubs)
        except HostFault:
            # The type checker of Monty 1.4 crashes on some sources with a wrong syntax.
            refusal = self._parse(stopped)
            if refusal is None:
                raise
            return Verdict(refusal=refusal)

    def _judge(self, stopped: str, stubs: str) -> Verdict:
        with self._session(_STUB + stubs) as session:
            try:
                _run_to_stop(session, stopped)
            except MontyTypingError as exc:
                types = _diagnostics(exc)
            except (MontySyntaxError, MontyRuntimeError) as exc:
                return Verdict(refusal=_refusal(exc))
            else:
                return Verdict()
            try:
                _run_to_stop(session, stopped, skip_type_check=True)
            except (MontySyntaxError, MontyRuntimeError) as exc:
                return Verdict(types, _refusal(exc))
        return Verdict(types)

    def _parse(self, stopped: str) -> Complaint | None:
        """What the parser refuses."""
        with self._session("") as session:
            try:
                _run_to_stop(session, stopped, skip_type_check=True)
            except (MontySyntaxError, MontyRuntimeError) as exc:
                return _refusal(exc)
        return None

    def missing(self, statements: Sequence[str]) -> frozenset[str]:
        """Returns those statements that fail; each imports something or reads a name."""
        asked = statements[:_MOST_QUESTIONS]
        if not asked:
            return frozenset()
        with self._session("") as session:
            snapshot: Any = session.feed_start(_questions(asked), skip_type_check=True)
            while not isinstance(snapshot, MontyComplete):
                if isinstance(snapshot, FunctionSnapshot):
                    snapshot = snapshot.resume_not_handled()
                else:
                    snapshot = snapshot.resume()
        return frozenset(asked[number] for number in snapshot.output)

    @contextmanager
    def _session(self, stubs: str) -> Iterator[MontySession]:
        assert self._pool is not None, "use it in a with"  # noqa: S101
        try:
            with self._pool.checkout(
                limits={"max_memory": _MEMORY, "max_turn_duration_secs": _SECONDS},
                type_check=True,
                type_check_stubs=stubs,
                type_check_format="json",
            ) as session:
                yield session
        except MontyError as exc:
            raise HostFault(f"the source could not be checked: {exc}") from exc


def _run_to_stop(session: MontySession, code: str, *, skip_type_check: bool = False) -> None:
    snapshot: Any = session.feed_start(code, skip_type_check=skip_type_check)
    while isinstance(snapshot, FunctionSnapshot) and snapshot.function_name == _IMPORT:
        snapshot = snapshot.resume_not_handled()


def _diagnostics(exc: MontyTypingError) -> tuple[Complaint, ...]:
    found = []
    for each in json.loads(exc.display()):
        line, column = each["location"]["row"] - 1, each["location"]["column"]
        if line > 0:
            found.append(Complaint(line, column, each["code"], each["message"]))
    return tuple(found)


def _refusal(exc: MontySyntaxError | MontyRuntimeError) -> Complaint:
    error = exc.exception()
    if not isinstance(error, SyntaxError | NotImplementedError):
        raise exc  # a limit
    rule = SYNTAX if isinstance(error, SyntaxError) else UNSUPPORTED
    lines = _LINE.findall(exc.display())
    return Complaint(max(1, int(lines[-1]) - 1) if lines else 1, 1, rule, str(error))


def _questions(statements: Sequence[str]) -> str:
    """A program whose output is the numbers of the statements that fail."""
    lines = ["failed = []"]
    for number, statement in enumerate(statements):
        # In a function of its own: an import would give its name to the others.
        lines += ["def ask():", *(f" {line}" for line in statement.split("\n"))]
        lines += ["try:", " ask()", "except BaseException:", f" failed.append({number})"]
    return "\n".join([*lines, "failed"])
