"""What a call asks for, as far as this process knows its function."""

from __future__ import annotations

import inspect
import json
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from durable_monty.admin.formats import block, cut, readable
from durable_monty.admin.values.type_names import type_name
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.models import Call

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def arguments(call: Call) -> SafeString | str:
    """A table of the arguments, by the names of the function's parameters."""
    try:
        args, kwargs = json.loads(call.args), json.loads(call.kwargs)
        named = {**dict(zip(_names(call.function, len(args)), args, strict=True)), **kwargs}
        rows = [(name, cut(readable(json.dumps(value)))) for name, value in named.items()]
    except (ValueError, TypeError, RecursionError):
        return block(f"{readable(call.args)}\n{readable(call.kwargs)}")
    if not rows:
        return "-"
    return format_html(
        '<table class="dm-arguments"><tbody>{}</tbody></table>',
        format_html_join(
            "", '<tr><th scope="row">{}</th><td><pre class="dm-block">{}</pre></td></tr>', rows
        ),
    )


def signature(function: str) -> str:
    """`approve(what: str) -> bool`; empty, if the function is not known here."""
    found = _signature(function)
    if found is None:
        return ""
    empty = inspect.Signature.empty
    parameters = [
        each.replace(annotation=empty if each.annotation is empty else _Named(each.annotation))
        for each in found.parameters.values()
    ]
    returned = found.return_annotation
    shown = found.replace(
        parameters=parameters, return_annotation=empty if returned is empty else _Named(returned)
    )
    return f"{function.rpartition('.')[2]}{shown}"


class _Named:
    """An annotation that is written without its module."""

    def __init__(self, annotation: Any) -> None:
        self.name = type_name(annotation)

    def __repr__(self) -> str:
        return self.name


def purpose(function: str) -> str:
    """What the function's docstring says."""
    registered = FUNCTION_REGISTRY.get(function)
    return "" if registered is None else inspect.getdoc(registered.func) or ""


def returns(function: str) -> Any:
    """The annotated type of the result; None, if there is none."""
    found = _signature(function)
    if found is None or found.return_annotation is inspect.Signature.empty:
        return None
    return found.return_annotation


def _names(function: str, count: int) -> list[str]:
    """Names for so many positional arguments: those beyond the parameters are numbered."""
    found = _signature(function)
    parameters = [] if found is None else list(found.parameters.values())
    names = [parameter.name for parameter in parameters if parameter.kind in _BY_POSITION]
    return [*names, *map(str, range(len(names) + 1, count + 1))][:count]


def _signature(function: str) -> inspect.Signature | None:
    registered = FUNCTION_REGISTRY.get(function)
    if registered is None:
        return None
    try:
        return inspect.signature(registered.func, eval_str=True)
    except Exception:  # noqa: BLE001  (annotations as text can be any code)
        try:
            return inspect.signature(registered.func)
        except (TypeError, ValueError):
            return None
