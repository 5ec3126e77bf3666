"""Checks a program before it starts."""

from __future__ import annotations

import builtins
import hashlib
import inspect
import logging
from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any, TypeVar

from durable_monty import conf
from durable_monty.exceptions import WrongSource
from durable_monty.functions import FUNCTION_REGISTRY, MANUAL_EXECUTOR
from durable_monty.sandbox import Checker, Complaint, Program, complaints_of, nearest
from durable_monty.stubs import Way, has_own_parameters, stubs_of

logger = logging.getLogger("durable_monty")

# The rules for which a start is refused: where a program breaks one, it cannot run to its end. The
# rules of the type checker are not among them, because they have false alarms, such as
# `unsupported-operator` for `results += await gather(...)`.
REFUSED = frozenset(
    {
        "invalid-syntax",  # the sandbox's own parser has refused it, not only the checker's
        "unsupported-syntax",  # likewise
        "unknown-name",  # the sandbox was asked for the name, and no `except NameError` is around
        "unknown-import",  # likewise, and no `except ImportError`
        "unavailable",  # open() and time.sleep(), which raise whatever they are given
        "wrong-arguments",  # their number and names, where no decorator may change them
        "not-awaited",  # a coroutine as a condition, as a statement or as an operand
        "unmatched-except",  # the sandbox does not know the name: a NameError when it is reached
    }
)
_K = TypeVar("_K")
_V = TypeVar("_V")
_KEPT = 1_000
_LONG = 10_000


def check_program(
    source: str,
    functions: Mapping[str, str],
    inputs: Iterable[str],
    checker: Checker | None = None,
    types: Mapping[str, Any] | None = None,
) -> tuple[Complaint, ...]:
    """Returns all complaints, sorted by place. Each program is checked once in a process.

    `functions` maps names in the source to names in the registry; `inputs` are names, and `types`
    maps the names in annotations to what they stand for. An open `checker` serves many programs.
    Raises `HostFault`.
    """
    key = _key(source, functions, inputs)
    known = None if types else _verdicts.get(key)
    if known is None:
        program = _program(source, functions, inputs, types or {})
        # Another function in the registry changes nothing for a program that does not call it.
        same = (key[0], _digest_of(program))
        known = _judged.get(same)
        if known is None:
            with nullcontext(checker) if checker is not None else Checker() as opened:
                known = tuple(complaints_of(program, opened))
            _keep(_judged, same, known)
        if not types:
            _keep(_verdicts, key, known)
    return known


def refuse_wrong(
    source: str, functions: Mapping[str, str], inputs: Iterable[str], *, file: str = ""
) -> None:
    """Raises `WrongSource` for a program that can only fail, if `CHECK` says so.

    The complaints name the `file` in which the source stands. A fault of the checker is logged,
    and refuses nothing.
    """
    how = conf.current().CHECK
    if how == "off":
        return
    key = _key(source, functions, inputs)
    if _verdicts.get(key) == () or key in _not_checked:
        return
    try:
        found = check_program(source, functions, inputs)
    except Exception as exc:  # noqa: BLE001  (whatever fails here, the workflow may be right)
        _keep(_not_checked, key, None)
        logger.warning("A workflow starts without having been checked: %s", exc)
        return
    complaints = [replace(each, file=file) for each in found]
    if complaints and how == "warn":
        lines = "\n".join(map(str, complaints))
        logger.warning("A workflow starts in spite of complaints:\n%s", lines)
    elif wrong := [each for each in complaints if each.rule in REFUSED]:
        raise WrongSource(wrong)


# The verdicts on the programs that this process has checked last: for one state of the registry,
# which a start finds without making stubs, and for all that have the same stubs.
_Key = tuple[str, tuple[tuple[str, str], ...], frozenset[str], int]
_verdicts: dict[_Key, tuple[Complaint, ...]] = {}
_judged: dict[tuple[str, str], tuple[Complaint, ...]] = {}
_not_checked: dict[_Key, None] = {}


def _key(source: str, functions: Mapping[str, str], inputs: Iterable[str]) -> _Key:
    # A start takes this way each time: the hash of a str is there already, a digest is not.
    text = source if len(source) < _LONG else hashlib.sha256(source.encode()).hexdigest()
    return text, tuple(functions.items()), frozenset(inputs), FUNCTION_REGISTRY.version


def _digest_of(program: Program) -> str:
    facts = (program.stubs, program.lenient_stubs, sorted(program.certain))
    raised = sorted(program.raised.items())
    return hashlib.sha256(repr((facts, raised)).encode()).hexdigest()


def _keep(kept: dict[_K, _V], key: _K, verdict: _V) -> None:
    kept[key] = verdict
    if len(kept) > _KEPT:
        with suppress(KeyError, RuntimeError):  # another thread did it; a lock would not fork
            del kept[next(iter(kept))]


def _program(
    source: str,
    functions: Mapping[str, str],
    inputs: Iterable[str],
    types: Mapping[str, Any],
) -> Program:
    names, certain = tuple(inputs), set()
    spaces: dict[int, Mapping[str, Any]] = {0: vars(builtins)}
    for name, target in functions.items():
        if (function := FUNCTION_REGISTRY.get(target)) is None:
            continue
        # People answer any call.
        if function.executor != MANUAL_EXECUTOR and has_own_parameters(function.func):
            certain.add(name)
        space = getattr(inspect.unwrap(function.func), "__globals__", {})
        spaces[id(space)] = space
    raised = {
        name: nearest(value)
        for space in spaces.values()
        for name, value in list(space.items())
        if isinstance(value, type) and issubclass(value, BaseException)
    }
    exact, lenient = (
        stubs_of(functions, names, way, types) for way in (Way.ARGUMENT, Way.LENIENT)
    )
    return Program(source, exact, lenient, functions, (*names, *types), certain, raised)
