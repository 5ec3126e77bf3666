"""Asks the sandbox's parser and type checker about a source, without running it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
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
    NameLookupSnapshot,
)

from durable_monty.exceptions import HostFault
from durable_monty.sandbox import remedies
from durable_monty.sandbox.clocks import CLOCKS, answer_clock
from durable_monty.sandbox.pool import own_pool

SYNTAX = "invalid-syntax"
UNSUPPORTED = "unsupported-syntax"
DEFINITION = "failing-definition"
# A call of this name is put before the source. It stops the run before the source begins.
_STOP = "durable_monty_check"
_STUB = f"__all__ += [{_STOP!r}]\ndef {_STOP}() -> None: ...\n"
_IMPORT = "import_stubs"
_LINE = re.compile(r"line (\d+)")
_SECONDS = 3.0
_MEMORY = 256 * 1024 * 1024
_MOST_QUESTIONS = 500


@dataclass(frozen=True, slots=True)
class Program:
    """A source and the names that it can use, which `stubs` declares.

    `lenient_stubs` declares them once more, for arguments that are not written out: there a list
    of ints is one of numbers. `certain` are the functions that take no other arguments than those
    of their stub. `raised` maps the exceptions that its functions know to the names by which the
    workflow catches them.
    """

    source: str
    stubs: str
    lenient_stubs: str = ""
    functions: Collection[str] = ()
    inputs: Collection[str] = ()
    certain: Collection[str] = ()
    raised: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Complaint:
    """A mistake in a source, and where it is. Lines and columns count from 1.

    `rule` is a rule of durable_monty, see `durable_monty.program_check`, or of the type checker.
    `file` is set for a workflow in a file.
    """

    line: int
    column: int
    rule: str
    message: str
    file: str = field(default="", repr=False)

    def __str__(self) -> str:
        place = f"Line {self.line}, column {self.column}"
        if self.file:
            place = f"{self.file}:{self.line}:{self.column}"
        return f"{place}: {self.message.rstrip('.')}."


@dataclass(frozen=True, slots=True)
class Verdict:
    """The complaints of the type checker, and the first construct that the parser refuses."""

    types: tuple[Complaint, ...] = ()
    refusal: Complaint | None = None


class Checker:
    """A sandbox process that checks one source after another, within a `with`.

    The process is its own and ends with the `with`: a web process keeps none, and a worker whose
    processes are all busy can still check. The methods raise `HostFault`.
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
        """Checks a source. `stubs` declares its functions and inputs, and has an `__all__`."""
        code = f"{_STOP}()\n{source}"
        try:
            with self._session(stubs + _STUB) as session:
                try:
                    return Verdict(refusal=_refusal(session, code))
                except MontyTypingError as exc:
                    found = json.loads(exc.display())
                # The type checker has stopped the run, so the parser has not spoken yet.
                refusal = _refusal(session, code, skip_type_check=True)
        except HostFault:
            # The type checker of Monty 1.4 crashes on some sources with a wrong syntax.
            with self._session("") as session:
                refusal = _refusal(session, code, skip_type_check=True)
            if refusal is None:
                raise
            return Verdict(refusal=refusal)
        types = []
        for each in found:
            line, column = each["location"]["row"] - 1, each["location"]["column"]
            if line > 0:
                types.append(Complaint(line, column, each["code"], each["message"]))
        return Verdict(tuple(types), refusal)

    def missing(self, statements: Sequence[str]) -> frozenset[str]:
        """Returns the statements that fail; each imports something or reads a name."""
        statements = statements[:_MOST_QUESTIONS]
        if not statements:
            return frozenset()
        lines = ["failed = []"]
        for number, statement in enumerate(statements):
            # Each has a function of its own, or an import would give its name to the others.
            lines += ["def ask():", *(f" {line}" for line in statement.split("\n"))]
            lines += ["try:", " ask()", "except BaseException:", f" failed.append({number})"]
        code = "\n".join([*lines, "failed"])
        with self._session("") as session:
            snapshot: Any = session.feed_start(code, skip_type_check=True)
            while not isinstance(snapshot, MontyComplete):
                if isinstance(snapshot, FunctionSnapshot):
                    snapshot = snapshot.resume_not_handled()
                else:
                    snapshot = snapshot.resume()
        return frozenset(statements[number] for number in snapshot.output)

    def define(self, source: str, functions: Collection[str]) -> tuple[int, Complaint] | None:
        """Runs a source that only defines things. Returns what fails first, after its line at the
        top level."""
        with self._session("") as session:
            try:
                snapshot: Any = session.feed_start(source, skip_type_check=True)
                while isinstance(snapshot, FunctionSnapshot | NameLookupSnapshot):
                    snapshot = _answer(snapshot, functions)
            except (MontyRuntimeError, MontySyntaxError) as exc:
                if not (frames := exc.traceback() if isinstance(exc, MontyRuntimeError) else []):
                    raise  # a limit of the sandbox, or no Python
                error = exc.exception()
                text = remedies.fails(f"{type(error).__name__}: {error}")
                where = frames[-1]
                return frames[0].line, Complaint(where.line, where.column, DEFINITION, text)
        return None

    @contextmanager
    def _session(self, stubs: str) -> Iterator[MontySession]:
        assert self._pool is not None, "use it in a with"  # noqa: S101
        try:
            with self._pool.checkout(
                limits={"max_memory": _MEMORY, "max_turn_duration_secs": _SECONDS},
                type_check=True,
                type_check_stubs=stubs,
                type_check_format="json",
                os_policy={"datetime": "call_host"},
            ) as session:
                yield session
        except MontyError as exc:
            raise HostFault(f"the source could not be checked: {exc}") from exc


def _answer(snapshot: FunctionSnapshot | NameLookupSnapshot, functions: Collection[str]) -> Any:
    """Answers a question of definitions that run, as an interpreter does before the first call."""
    if isinstance(snapshot, NameLookupSnapshot):
        name = snapshot.variable_name
        if name not in functions:
            return snapshot.resume()

        def function() -> None:
            """Stands for a function of the workflow."""

        function.__name__ = function.__qualname__ = name
        return snapshot.resume(value=function)
    if not snapshot.is_os_function and snapshot.function_name in functions:
        message = remedies.CALLED_TOO_EARLY
        return snapshot.resume({"exc_type": "RuntimeError", "message": message})
    if snapshot.function_name in CLOCKS:
        return snapshot.resume({"return_value": answer_clock(snapshot, datetime.now(UTC))})
    refusal = remedies.refusal_of(snapshot.function_name, snapshot.args)
    return snapshot.resume(refusal) if refusal else snapshot.resume_not_handled()


def _refusal(
    session: MontySession, code: str, *, skip_type_check: bool = False
) -> Complaint | None:
    """Runs `code` up to its first line, and returns what the parser refuses.

    Raises `MontyTypingError` for what the type checker finds before that.
    """
    try:
        snapshot: Any = session.feed_start(code, skip_type_check=skip_type_check)
        while isinstance(snapshot, FunctionSnapshot) and snapshot.function_name == _IMPORT:
            snapshot = snapshot.resume_not_handled()
    except (MontySyntaxError, MontyRuntimeError) as exc:
        error = exc.exception()
        if not isinstance(error, SyntaxError | NotImplementedError):
            raise  # a limit of the sandbox, which says nothing of the source
        rule = SYNTAX if isinstance(error, SyntaxError) else UNSUPPORTED
        lines = _LINE.findall(exc.display())
        return Complaint(max(1, int(lines[-1]) - 1) if lines else 1, 1, rule, str(error))
    return None
