"""Checks the arguments of a call against the signature of its function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from durable_monty.functions import MANUAL_EXECUTOR, RegisteredFunction


def fitted(
    entry: RegisteredFunction, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Returns the arguments as the function gets them, with instances of annotated classes.

    Raises what a worker would record for arguments that do not fit. A call for people takes any.
    """
    if entry.executor == MANUAL_EXECUTOR:
        return args, kwargs
    if refused := refusal_of(entry.func, args, kwargs):
        raise refused
    return entry.conversion.arguments(args, kwargs)


def refusal_of(
    func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> TypeError | None:
    """Returns the TypeError that calling `func` with these arguments would raise, if any."""
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):  # written in C
        return None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as exc:
        refused = exc
    else:
        return None
    # `bind` words it in its own way: a function with the same parameters words it as Python does.
    empty = inspect.Parameter.empty
    parameters = [
        parameter.replace(annotation=empty, default=empty if parameter.default is empty else None)
        for parameter in signature.parameters.values()
    ]
    bare = signature.replace(parameters=parameters, return_annotation=empty)
    space: dict[str, Any] = {}
    exec(f"def same{bare}: ...", space)  # noqa: S102  (of names that Python accepted before)
    space["same"].__qualname__ = getattr(func, "__qualname__", type(func).__name__)
    try:
        space["same"](*args, **kwargs)
    except TypeError as exc:
        return TypeError(*exc.args)
    return refused
