"""Keys of executions: a start that means the same returns the execution that exists."""

from __future__ import annotations

import io
import json
import tokenize
from collections.abc import Sequence
from typing import Literal

from durable_monty import codec
from durable_monty.exceptions import InvalidWorkflow, KeyConflict
from durable_monty.models import Execution
from durable_monty.operations.sources import Code

OnConflict = Literal["raise", "return"]

# Tokens without a meaning, and tokens that mean the same however they are written.
_NOTHING = (tokenize.COMMENT, tokenize.NL)
_LAYOUT = (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def find_by_key(key: str, using: str) -> Execution | None:
    executions = Execution.objects.using(using).select_related("program")
    return executions.filter(key=key).first()


def check_on_conflict(on_conflict: str) -> None:
    if on_conflict not in {"raise", "return"}:
        raise InvalidWorkflow(f"on_conflict must be 'raise' or 'return', not {on_conflict!r}.")


def known_or_conflict(
    known: Execution, key: str, differing: Sequence[str], on_conflict: OnConflict
) -> Execution:
    """Returns the execution that has the key; raises `KeyConflict` if something differs, unless
    the caller wants it anyway."""
    if differing and on_conflict == "raise":
        raise KeyConflict(key, known.pk, differing)
    return known


def find_start(
    key: str | None,
    code: Code,
    inputs: str,
    *,
    name: str,
    on_conflict: OnConflict,
    using: str,
) -> Execution | None:
    """Returns the execution that has the key, if any. Raises `KeyConflict`."""
    if key is None or (known := find_by_key(key, using)) is None:
        return None
    differing = []
    # The name says which workflow is meant. Without a name on both sides, the source does.
    if name and known.name:
        differing += ["name"] if name != known.name else []
    else:
        differing += differing_program(known, code)
    # The order of variables means nothing; the order inside a value may.
    if not codec.are_alike(_variables(known.inputs), _variables(inputs)):
        differing.append("inputs")
    return known_or_conflict(known, key, differing, on_conflict)


def differing_program(known: Execution, code: Code) -> list[str]:
    program, source = known.program, code.source
    is_same = program.source == source or _meaning(program.source) == _meaning(source)
    differing = [] if is_same and program.entry == code.entry else ["code"]
    return differing if program.functions == code.functions else [*differing, "functions"]


def _variables(inputs: str) -> str:
    return json.dumps(dict(sorted(json.loads(inputs).items())))


def _meaning(source: str) -> str | list[tuple[int, str]]:
    """Returns the source without comments, blank lines and layout, or as it is if this Python
    cannot read it. A docstring is code."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError):
        return source
    for token in tokens:
        # Python 3.11 ends an f-string at a quote inside its braces; a # behind it is no comment.
        is_cut = token.type == tokenize.STRING and token.string.count("{") != token.string.count(
            "}"
        )
        if token.type == tokenize.ERRORTOKEN or (is_cut and "f" in token.string[:2].lower()):
            return source
    return [
        (token.type, "" if token.type in _LAYOUT else token.string)
        for token in tokens
        if token.type not in _NOTHING
    ]
