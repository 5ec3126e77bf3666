"""Types in the words of people who type JSON, and checks whether a value has a type."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterable
from typing import Any, Literal

from django.utils.translation import gettext as _

_UNIONS = (typing.Union, types.UnionType)
_SEQUENCES = (list, set, frozenset)
# Other types (classes, protocols, type variables) are not checked.
_CHECKED = (bool, int, float, str, bytes, list, tuple, set, frozenset, dict)
_SAMPLES: dict[Any, Any] = {bool: True, int: 0, float: 0.5, str: "…", list: [], dict: {}}


def type_name(annotation: Any) -> str:
    """Returns a name like `list[int] | None`."""
    if annotation is type(None):
        return "None"
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return annotation.__name__
    text = str(annotation).replace("typing.", "")
    # Module names are removed, but in a literal a dot may belong to the value.
    return text if "Literal" in text else re.sub(r"[A-Za-z_]\w*\.", "", text)


def example(annotation: Any) -> str:
    """Returns JSON of a value of the type; an empty text if there is no example."""
    sample = _sample(annotation)
    return "" if sample is None else json.dumps(sample, ensure_ascii=False)


def mismatch(value: Any, annotation: Any, path: str = "result") -> str:
    """Returns the first thing wrong with `value`, with its path; an empty text if it fits."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    kind = annotation if origin is None else origin
    if origin is Literal:
        fits = value in args
    elif origin in _UNIONS:
        fits = any(not mismatch(value, arg, path) for arg in args)
    elif kind is type(None):
        fits = value is None
    elif kind not in _CHECKED:
        fits = True
    elif isinstance(value, bool):  # Python takes it for an int, a person does not
        fits = kind is bool
    else:
        fits = isinstance(value, float | int if kind is float else kind)
        if fits and args:
            return next(filter(None, _mismatches(value, kind, args, path)), "")
    if fits:
        return ""
    values = {"path": path, "type": type_name(annotation)}
    return _("%(path)s is not of the type %(type)s.") % values


def _mismatches(value: Any, kind: Any, args: tuple[Any, ...], path: str) -> Iterable[str]:
    """Returns what is wrong with each item of a container."""
    if kind is dict:
        key, item = args
        wrong = [mismatch(each, key, f"{path}.keys()") for each in value]
        return wrong + [mismatch(each, item, f"{path}[{name!r}]") for name, each in value.items()]
    if kind in _SEQUENCES or args[-1] is Ellipsis:
        args = (args[0],) * len(value)
    if len(args) != len(value):
        return [_("%(path)s must have %(count)d items.") % {"path": path, "count": len(args)}]
    return [
        mismatch(each, arg, f"{path}[{number}]")
        for number, (each, arg) in enumerate(zip(value, args, strict=True))
    ]


def _sample(annotation: Any) -> Any:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in _UNIONS:
        # The first member of a union that has an example will do.
        return next((found for arg in args if (found := _sample(arg)) is not None), None)
    if origin is Literal:
        return args[0]
    if origin is list and args:
        inner = _sample(args[0])
        return [] if inner is None else [inner]
    if origin is dict and args and args[0] is str:
        inner = _sample(args[1])
        return {} if inner is None else {"…": inner}
    return _SAMPLES.get(annotation)
