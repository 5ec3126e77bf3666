"""Converts values of classes without fields of their own, and the items of containers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from durable_monty.codec import NamedRecord, as_dicts
from durable_monty.codec.limits import short
from durable_monty.converters.misfit import Convert, Misfit


def convert_text(kind: Any, value: Any, path: str) -> Any:
    """Makes a UUID or a zone of a text."""
    if value is None or isinstance(value, kind):
        return value
    try:
        if isinstance(value, str):
            return kind(value)
    except (ValueError, LookupError, OSError):  # a zone that is not found is any of them
        pass
    raise Misfit(path, kind.__name__, f"it is {short(value)}")


def convert_member(kind: Any, value: Any, path: str) -> Any:
    """Makes the member of an Enum of its value."""
    if value is None or isinstance(value, kind):
        return value
    try:
        return kind(value)
    except (ValueError, TypeError) as exc:
        raise Misfit(path, kind.__name__, f"it is {short(value)}") from exc


def convert_model(model: Any, value: Any, path: str) -> Any:
    """Makes a pydantic model, which checks its fields, of a dict or a record."""
    if value is None or isinstance(value, model):
        return value
    try:
        return model.model_validate(as_dicts(value))
    except ValueError as exc:
        errors = getattr(exc, "errors", None)  # of pydantic's ValidationError
        if errors is None:
            raise
        error = errors()[0]
        path += "".join(f".{at}" if isinstance(at, str) else f"[{at}]" for at in error["loc"])
        raise Misfit(path, model.__name__, error["msg"]) from exc


def convert_items(kind: Any, convert: Any, value: Any, path: str) -> Any:
    """Converts the items of a list, a tuple or a set."""
    if value is None:
        return value
    if not isinstance(value, list | tuple | set | frozenset) or isinstance(value, NamedRecord):
        raise Misfit(path, kind.__name__, f"it is {short(value)}")
    return type(value)([convert(item, f"{path}[{at}]") for at, item in enumerate(value)])


def convert_tuple(converters: Sequence[Convert | None], value: Any, path: str) -> Any:
    """Converts the items of a tuple that has one type for each."""
    if value is None:
        return value
    if not isinstance(value, list | tuple) or len(value) != len(converters):
        raise Misfit(path, f"tuple of {len(converters)} items", f"it is {short(value)}")
    return tuple(
        item if convert is None else convert(item, f"{path}[{at}]")
        for at, (item, convert) in enumerate(zip(value, converters, strict=True))
    )


def convert_mapping(kind: Any, converters: Sequence[Convert | None], value: Any, path: str) -> Any:
    """Converts the keys and the items of a dict."""
    if value is None:
        return value
    key, item = converters
    if not isinstance(value, dict):
        raise Misfit(path, kind.__name__, f"it is {short(value)}")
    return {
        name if key is None else key(name, f"{path}.keys()"): (
            each if item is None else item(each, f"{path}[{short(name)}]")
        )
        for name, each in value.items()
    }
