"""Writes the stubs of a workflow's functions."""

from __future__ import annotations

import inspect
import keyword
import sys
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.sandbox import ERROR_TYPE
from durable_monty.stubs.context import Context, Way
from durable_monty.stubs.forms import form_of
from durable_monty.stubs.names import Names
from durable_monty.stubs.scopes import Scope
from durable_monty.stubs.types import Types


def stubs_of(
    functions: Mapping[str, str],
    inputs: Iterable[str],
    way: Way = Way.ARGUMENT,
    types: Mapping[str, Any] | None = None,
) -> str:
    """Returns the stubs of a workflow's functions and inputs.

    `functions` maps names in the source to names in the registry. Types that the sandbox cannot
    know, such as a project's models, are Any, and so is a parameter without annotation. `way`
    says how exactly arguments are described. `types` maps names to what they stand for in the
    annotations of the workflow.
    """
    inputs = [name for name in inputs if not keyword.iskeyword(name)]
    declared = [*dict.fromkeys([*inputs, *functions])]
    named = {name: each for name, each in (types or {}).items() if name not in declared}
    # A class is called by its own name, if it comes first.
    own = {name for name, each in named.items() if getattr(each, "__name__", "") == name}
    names = Names([*declared, *(named.keys() - own), ERROR_TYPE])
    writer = Types(names)
    lines = [*_aliases(named, writer)]
    lines += [f"{name}: {writer.any}" for name in inputs]
    lines += [_function(name, target, writer, way) for name, target in functions.items()]
    declared += named
    if ERROR_TYPE not in declared:
        declared.append(ERROR_TYPE)
        text, error = (names.imported("builtins", name) for name in ("str", "BaseException"))
        lines.append(f"def {ERROR_TYPE}(error: {error}, /) -> {text}: ...")
    # What is not in __all__ does not exist for the workflow.
    head = [*names.import_lines(), f"__all__ = {declared}"]
    return "\n".join([*head, *writer.classes.lines, *lines]) + "\n"


def _aliases(types: Mapping[str, Any], writer: Types) -> Iterator[str]:
    """Yields what names stand for in annotations, where the stubs do not call it so."""
    for name, annotation in types.items():
        module = getattr(annotation, "__module__", "")
        form = getattr(annotation, "_name", None) or getattr(annotation, "__name__", "")
        written = writer.any
        if module in ("typing", "collections.abc") and form and annotation is not Any:
            yield f"from {module} import {form} as {name}"
            continue
        if not getattr(annotation, "__parameters__", ()):  # a class that takes no arguments
            written = writer.write(annotation, Context(Way.RESULT, owner=None))
        if written != name:
            yield f"{name}: {written}" if written == writer.any else f"{name} = {written}"


def has_own_parameters(func: Any) -> bool:
    """Returns whether a call fails that does not fit the stub of the function."""
    if hasattr(func, "__wrapped__"):
        return False  # a decorator may add an argument or take one away
    try:
        parameters = _signature(func).parameters.values()
    except Exception:  # noqa: BLE001  (written in C, or its annotations raise)
        return False
    # Python lets the keywords of a TypedDict be missing.
    return not any(
        "Unpack" in f"{form_of(each.annotation)} {each.annotation}" for each in parameters
    )


def _function(name: str, target: str, types: Types, way: Way) -> str:
    anything = f"async def {name}(*args: {types.any}, **kwargs: {types.any}) -> {types.any}: ..."
    registered = FUNCTION_REGISTRY.get(target)
    if registered is None:
        return anything
    try:
        signature = _signature(registered.func)
    except Exception:  # noqa: BLE001  (written in C, or its annotations raise)
        return anything
    plain = inspect.unwrap(registered.func)
    own = {each.__name__: each for each in getattr(plain, "__type_params__", ())}
    known = getattr(plain, "__globals__", None)
    scope = Scope(getattr(plain, "__module__", None) or "", own, known)
    types.variables.clear()
    parameters = [
        parameter.replace(
            annotation=_Text(_parameter(parameter, types, Context(way, scope))),
            default=parameter.empty if parameter.default is parameter.empty else _Text("..."),
        )
        for parameter in signature.parameters.values()
    ]
    result = signature.return_annotation
    if result is signature.empty:
        result = Any
    declared = signature.replace(
        parameters=parameters,
        return_annotation=_Text(types.write(result, Context(Way.RESULT, scope))),
    )
    variables = f"[{', '.join(types.variables.values())}]" if types.variables else ""
    return f"async def {name}{variables}{declared}: ..."


def _signature(func: Any) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        import annotationlib

        return inspect.signature(func, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(func)


def _parameter(parameter: inspect.Parameter, types: Types, context: Context) -> str:
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return types.any
    if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
        return _variadic(annotation, types, context)
    written = types.write(annotation, context)
    if parameter.default is None and "None" not in written.split(" | "):
        written += " | None"  # `number: int = None`
    return written


def _variadic(annotation: Any, types: Types, context: Context) -> str:
    """Writes the type of `*args` or `**kwargs`."""
    try:
        meaning = context.scope.resolve(annotation)
    except Exception:  # noqa: BLE001  (the text can be any code)
        return types.any
    if form_of(meaning) != "Unpack":
        return types.write(meaning, context)
    [inner] = typing.get_args(meaning)
    cls = typing.get_origin(inner) or inner
    if not hasattr(cls, "__required_keys__"):
        return types.any
    unpack = types.names.imported("typing", "Unpack")
    return f"{unpack}[{types.classes.unpacked(cls, typing.get_args(inner), context)}]"


class _Text:
    """A text that a signature shows as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text
