"""Declares the globals of a workflow for the type checker of the sandbox."""

from __future__ import annotations

import inspect
import keyword
import types
import typing
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal

from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.sandbox import ERROR_TYPE

_HEAD = """from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal
"""
_ERROR_TYPE = f"def {ERROR_TYPE}(error: BaseException, /) -> str: ..."
_BUILTIN = (bool, int, float, str, bytes, list, dict, tuple, set, frozenset)
_LITERAL = (bool, int, str, bytes, type(None))
_KNOWN = (*_BUILTIN, date, datetime, time, timedelta, Decimal)


def stubs_of(functions: Mapping[str, str], inputs: Iterable[str]) -> str:
    """Returns the stubs of a workflow's functions and inputs.

    `functions` maps names in the source to names in the registry. Types that the sandbox cannot
    know, such as a project's classes, are Any, and so is a parameter without annotation.
    """
    inputs = list(inputs)
    lines = [] if ERROR_TYPE in {*inputs, *functions} else [_ERROR_TYPE]
    lines += [f"{name}: Any" for name in inputs if not keyword.iskeyword(name)]
    lines += [_function(name, target) for name, target in functions.items()]
    return _HEAD + "\n".join(lines) + "\n"


def _function(name: str, target: str) -> str:
    anything = f"async def {name}(*args: Any, **kwargs: Any) -> Any: ..."
    registered = FUNCTION_REGISTRY.get(target)
    if registered is None:
        return anything
    try:
        signature = inspect.signature(registered.func)
    except (TypeError, ValueError):  # written in C
        return anything
    known = getattr(inspect.unwrap(registered.func), "__globals__", {})
    parameters = [
        parameter.replace(
            annotation=_resolved(parameter.annotation, known),
            default=parameter.empty if parameter.default is parameter.empty else _Default(),
        )
        for parameter in signature.parameters.values()
    ]
    declared = signature.replace(
        parameters=parameters, return_annotation=_resolved(signature.return_annotation, known)
    )
    return f"async def {name}{declared}: ..."


def _resolved(annotation: Any, known: dict[str, Any]) -> str:
    """Returns the type of one annotation, or Any: the other parameters keep their types."""
    try:
        if isinstance(annotation, str):
            annotation = eval(annotation, known)  # noqa: S307  (of the project's own code)
        return _type(annotation)
    except Exception:  # noqa: BLE001  (annotations as text can be any code)
        return "Any"


class _Default:
    def __repr__(self) -> str:
        return "..."


def _type(annotation: Any) -> str:
    if annotation is None or annotation is type(None):
        return "None"
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        plain = all(type(arg) in _LITERAL for arg in args)
        return f"Literal[{', '.join(map(repr, args))}]" if plain else "Any"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_type, args))
    if origin in _BUILTIN and args:
        inner = ("..." if arg is Ellipsis else _type(arg) for arg in args)
        return f"{origin.__name__}[{', '.join(inner)}]"
    if origin is None and annotation in _KNOWN:
        return str(annotation.__name__)
    return "Any"
