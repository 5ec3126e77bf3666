"""Types in words for people who type JSON, and whether a value is of one."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Collection
from typing import Any, Literal

from django.utils.translation import gettext as _

_UNIONS = (typing.Union, types.UnionType)
_SEQUENCES = (list, set, frozenset)
# The rest (classes, protocols, type variables) is not checked.
_PLAIN = (bool, int, float, str, bytes, list, tuple, set, frozenset, dict)
_SAMPLES: dict[Any, Any] = {bool: True, int: 0, float: 0.5, str: "…", list: [], dict: {}}


def type_name(annotation: Any) -> str:
    """`list[int] | None`"""
    if annotation is type(None):
        return "None"
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return annotation.__name__
    text = str(annotation).replace("typing.", "")
    # Without modules; in a literal a dot may be the value's.
    return text if "Literal" in text else re.sub(r"[A-Za-z_]\w*\.", "", text)


def example(annotation: Any) -> str:
    """JSON of that form; empty, if there is none to give."""
    sample = _sample(annotation)
    return "" if sample is None else json.dumps(sample, ensure_ascii=False)


def mismatch(value: Any, annotation: Any, path: str = "result") -> str:
    """What is wrong with `value`, with the path; empty, if nothing is known to be."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return "" if value in args else _wrong(path, annotation)
    if origin in _UNIONS:
        fits = any(not mismatch(value, arg, path) for arg in args)
        return "" if fits else _wrong(path, annotation)
    kind = annotation if origin is None else origin
    if annotation is None or kind is type(None):
        return "" if annotation is None or value is None else _wrong(path, annotation)
    if kind not in _PLAIN:
        return ""
    if not _is_a(value, kind):
        return _wrong(path, annotation)
    return next(filter(None, _parts(value, kind, args, path)), "")


def _parts(value: Any, kind: Any, args: tuple[Any, ...], path: str) -> Collection[str]:
    if not args:
        return ()
    if kind is dict:
        key, item = args
        wrong = [mismatch(each, key, f"{path}.keys()") for each in value]
        return wrong + [mismatch(each, item, f"{path}[{name!r}]") for name, each in value.items()]
    if kind in _SEQUENCES or args[-1] is Ellipsis:
        return [mismatch(each, args[0], f"{path}[{number}]") for number, each in enumerate(value)]
    if len(args) != len(value):
        return [_("%(path)s must have %(count)d items.") % {"path": path, "count": len(args)}]
    return [
        mismatch(each, arg, f"{path}[{number}]")
        for number, (each, arg) in enumerate(zip(value, args, strict=True))
    ]


def _is_a(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, float | int)
    return isinstance(value, kind)


def _wrong(path: str, annotation: Any) -> str:
    return _("%(path)s is not of the type %(type)s.") % {
        "path": path,
        "type": type_name(annotation),
    }


def _sample(annotation: Any) -> Any:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in _UNIONS:
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
