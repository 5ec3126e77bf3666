"""Tells wrong arguments from those of which only the type checker says so."""

from __future__ import annotations

import re
from dataclasses import replace

from durable_monty.sandbox.source_index import SourceIndex
from durable_monty.sandbox.type_check import Checker, Complaint, Program, Verdict

ARGUMENT_TYPE = "invalid-argument-type"
_MISSING_KEY = "missing-typed-dict-key"
# A coroutine that nobody awaits is no value, whatever its type.
AWAITED = re.compile(r"`(?:CoroutineType|_Future)\[")


def without_false_alarms(
    verdict: Verdict, program: Program, index: SourceIndex, checker: Checker
) -> Verdict:
    """Returns the verdict without the complaints about arguments that fit.

    The type checker takes lists and dicts for invariant, and a dict for no TypedDict. It is right
    about constants and dicts that are written out. Other arguments are wrong if the lenient stubs
    refuse them, too.
    """
    types = [
        each
        for each in verdict.types
        # The checker does not know the keys of a dict that is unpacked.
        if each.rule != _MISSING_KEY or (each.line, each.column) not in index.unpacking
    ]
    doubtful = {place for each in types if (place := _doubtful(each))} - index.constants
    if doubtful and program.lenient_stubs not in ("", program.stubs):
        lenient = checker.judge(program.source, program.lenient_stubs)
        doubtful -= {place for each in lenient.types if (place := _doubtful(each))}
        types = [each for each in types if _doubtful(each) not in doubtful]
    return replace(verdict, types=tuple(types))


def _doubtful(complaint: Complaint) -> tuple[int, int] | None:
    """Returns the place of an argument that may fit in spite of a complaint."""
    if complaint.rule != ARGUMENT_TYPE or AWAITED.search(complaint.message):
        return None
    return complaint.line, complaint.column
