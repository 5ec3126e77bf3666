"""Type-checking a source without letting it do anything."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic_monty import (
    FunctionSnapshot,
    MontyCrashedError,
    MontyRuntimeError,
    MontySyntaxError,
    MontyTypingError,
)

from durable_monty.exceptions import HostFault
from durable_monty.sandbox.journal import Limits
from durable_monty.sandbox.pool import checkout

SYNTAX = "invalid-syntax"
_IMPORT = "import_stubs"
_PARSER = "The monty syntax parser"
_LINE = re.compile(r"line (\d+)")
_PLACE = re.compile(r"main\.py:(\d+):(\d+): error\[([a-z-]+)\] (.*)")


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong on a line of the source; `rule` is `SYNTAX` or a rule of types."""

    line: int
    column: int
    rule: str
    message: str


def check_types(source: str, stubs: str, limits: Limits) -> list[Complaint]:
    """`stubs` declares what `source` finds as its globals. Raises `HostFault`."""
    # The checker has no mode without a run: it is given up at the first outside call, and has no
    # inputs, so what happens until then means nothing.
    with checkout(
        limits, type_check=True, type_check_stubs=stubs, type_check_format="concise"
    ) as session:
        try:
            snapshot = session.feed_start(source)
            while isinstance(snapshot, FunctionSnapshot) and snapshot.function_name == _IMPORT:
                snapshot = snapshot.resume_not_handled()
        except MontyTypingError as exc:
            return [
                Complaint(int(line), int(column), rule, message)
                for line, column, rule, message in _PLACE.findall(exc.display())
            ]
        except MontyCrashedError as exc:
            raise HostFault(f"the sandbox process failed: {exc}") from exc
        except (MontySyntaxError, MontyRuntimeError) as exc:
            return _unsupported(exc)
    return []


def _unsupported(exc: MontySyntaxError | MontyRuntimeError) -> list[Complaint]:
    """What the checker knows and the sandbox does not run."""
    message, lines = str(exc.exception()), _LINE.findall(exc.display())
    if isinstance(exc, MontyRuntimeError) and not message.startswith(_PARSER):
        return []
    return [Complaint(int(lines[-1]) if lines else 1, 1, SYNTAX, message)]
