"""The signature of a call's function, as far as this process has the function."""

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
_EMPTY = inspect.Signature.empty


def arguments(call: Call) -> SafeString | str:
    """Returns a table of the arguments, by the names of the function's parameters."""
    signature = _signature(call.function)
    parameters = () if signature is None else signature.parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind in _BY_POSITION]
    try:
        args, kwargs = json.loads(call.args), json.loads(call.kwargs)
        # Arguments beyond the parameters are numbered.
        names += map(str, range(len(names) + 1, len(args) + 1))
        named = {**dict(zip(names, args, strict=False)), **kwargs}
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
    """Returns `approve(what: str) -> bool`; an empty text if the function is unknown here."""
    found = _signature(function)
    if found is None:
        return ""
    parameters = [
        each.replace(annotation=_TypeName.of(each.annotation))
        for each in found.parameters.values()
    ]
    returned = _TypeName.of(found.return_annotation)
    shown = found.replace(parameters=parameters, return_annotation=returned)
    return f"{function.rpartition('.')[2]}{shown}"


class _TypeName:
    """An annotation that `str(signature)` writes without its module."""

    def __init__(self, annotation: Any) -> None:
        self.name = type_name(annotation)

    def __repr__(self) -> str:
        return self.name

    @classmethod
    def of(cls, annotation: Any) -> Any:
        return annotation if annotation is _EMPTY else cls(annotation)


def purpose(function: str) -> str:
    """Returns the function's docstring."""
    registered = FUNCTION_REGISTRY.get(function)
    return "" if registered is None else inspect.getdoc(registered.func) or ""


def returns(function: str) -> Any:
    """Returns the annotated type of the result; None if there is no annotation."""
    found = _signature(function)
    annotation = _EMPTY if found is None else found.return_annotation
    return None if annotation is _EMPTY else annotation


def _signature(function: str) -> inspect.Signature | None:
    registered = FUNCTION_REGISTRY.get(function)
    if registered is None:
        return None
    try:
        # With postponed evaluation, annotations are text.
        return inspect.signature(registered.func, eval_str=True)
    except Exception:  # noqa: BLE001  (annotations as text can be any code)
        try:
            return inspect.signature(registered.func)
        except (TypeError, ValueError):
            return None
