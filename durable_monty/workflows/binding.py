"""Binds the arguments of a start to the parameters of a workflow."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from durable_monty.exceptions import InvalidInputs

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def bind_inputs(
    name: str, signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the arguments by the name of their parameter; defaults stay the workflow's own.

    Raises `InvalidInputs`, which names everything that does not fit.
    """
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        reasons = "; ".join(_misfits(signature, args, kwargs))
        plain = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
        shown = inspect.Signature(plain)
        raise InvalidInputs(f"{name}{shown} cannot be started so: {reasons}.") from None
    inputs = dict(bound.arguments)
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            inputs |= inputs.pop(parameter.name, {})
    return inputs


def _misfits(
    signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Iterator[str]:
    parameters = signature.parameters.values()
    kinds = {parameter.kind for parameter in parameters}
    positional = [each.name for each in parameters if each.kind in _POSITIONAL]
    named = [each.name for each in parameters if each.kind in _NAMED]
    if len(args) > len(positional) and inspect.Parameter.VAR_POSITIONAL not in kinds:
        most = len(positional)
        yield (
            f"it takes {most or 'no'} positional argument{'' if most == 1 else 's'}, "
            f"and was given {len(args)}"
        )
    by_position = positional[: len(args)]
    unexpected = [each for each in kwargs if each not in named]
    missing = [
        each.name
        for each in parameters
        if each.kind in (*_POSITIONAL, inspect.Parameter.KEYWORD_ONLY)
        and each.default is each.empty
        and each.name not in by_position
        and (each.name not in kwargs or each.name not in named)
    ]
    if missing:
        yield f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    if unexpected and inspect.Parameter.VAR_KEYWORD not in kinds:
        free = [each for each in named if each not in kwargs and each not in by_position]
        for each in unexpected:
            close = get_close_matches(each, free, 1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            yield f"it has no parameter {each!r}{hint}"
    if twice := [each for each in by_position if each in kwargs and each in named]:
        yield f"{_listed(twice)} {'is' if len(twice) == 1 else 'are'} given twice"


def _listed(names: Sequence[str]) -> str:
    *first, last = map(repr, names)
    return f"{', '.join(first)} and {last}" if first else last
