"""Writes annotations as the types of the values that a workflow sees."""

from __future__ import annotations

import types
from collections import Counter, OrderedDict, abc, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag
from pathlib import Path, PurePath, PurePosixPath
from typing import (
    Any,
    ForwardRef,
    Literal,
    TypeVar,
    Union,
    Unpack,
    get_args,
    get_origin,
)
from uuid import UUID
from zoneinfo import ZoneInfo

from durable_monty.stubs.classes import Classes
from durable_monty.stubs.context import Context, Way
from durable_monty.stubs.forms import stored, substitute, unwrapped
from durable_monty.stubs.names import Names
from durable_monty.stubs.scopes import Scope

_PLAIN: dict[Any, tuple[str, str]] = {
    **{each: ("builtins", each.__name__) for each in (bool, int, float, complex, str, bytes)},
    **{each: ("datetime", each.__name__) for each in (date, datetime, time, timedelta, timezone)},
    Decimal: ("decimal", "Decimal"),
    # In the sandbox these are texts.
    **dict.fromkeys((UUID, ZoneInfo), ("builtins", "str")),
    **dict.fromkeys((Path, PurePath, PurePosixPath), ("pathlib", "Path")),
}
# The containers that the codec reads as themselves, and those that arrive as one of them.
_CONTAINERS: dict[Any, tuple[type, int]] = {
    **dict.fromkeys((list, abc.MutableSequence), (list, 1)),
    **dict.fromkeys((set, abc.MutableSet), (set, 1)),
    frozenset: (frozenset, 1),
    **dict.fromkeys((dict, abc.Mapping, abc.MutableMapping), (dict, 2)),
    **dict.fromkeys((OrderedDict, defaultdict), (dict, 2)),
    **{each: (each, 1) for each in (abc.Sequence, abc.Iterable, abc.Collection, abc.Set)},
}
_LITERALS = (bool, int, str, bytes, type(None))
_LARGEST = 2**63
_MOST_VALUES = 200  # a message lists them all
_DEEPEST = 4


class Types:
    """Writes types into one text of stubs, and collects what they need."""

    def __init__(self, names: Names) -> None:
        self.names, self.classes = names, Classes(self, names)
        # The type variables of the function that is being written, and the names that they have.
        self.variables: dict[Any, str] = {}
        self._variable_names: dict[str, str] = {}

    @property
    def any(self) -> str:
        return self.names.imported("typing", "Any")

    def write(self, annotation: Any, context: Context) -> str:
        """Returns the type of an annotation, or Any where it has none that the stubs can say."""
        try:
            return self._write(annotation, context)
        except Exception:  # noqa: BLE001  (annotations, and the classes in them, can be any code)
            return self.any

    def _write(self, annotation: Any, context: Context) -> str:
        annotation = substitute(unwrapped(annotation), context.variables)
        match annotation:
            case str() | ForwardRef():
                return self.write_text(annotation, context)
            case TypeVar():
                return self.write_variable(annotation, context)
        origin = get_origin(annotation)
        if hasattr(origin or annotation, "__value__"):
            return self.write_alias(origin or annotation, get_args(annotation), context)
        if origin:
            return self.write_form(origin, get_args(annotation), context)
        return self.write_name(annotation, context)

    def write_form(self, origin: Any, args: Sequence[Any], context: Context) -> str:
        """Writes a type with arguments."""
        if origin in (Union, types.UnionType):
            return self.union(self.write(arg, context) for arg in args)
        if origin is Literal:
            return self.write_values(args, context)
        if origin is tuple:
            return self.write_tuple(args, context)
        return self.write_class(origin, args, context) if isinstance(origin, type) else self.any

    def write_name(self, annotation: Any, context: Context) -> str:
        """Writes a type without arguments."""
        if annotation is None or annotation is types.NoneType:
            return "None"
        if isinstance(annotation, type):
            return self.write_class(annotation, (), context)
        match getattr(annotation, "_name", ""):
            case "Never" | "NoReturn":
                return self.names.imported("typing", "Never")
            case "LiteralString":
                return self.write(str, context)
            case "Self":
                return self.write(context.owner, context)
        return self.any

    def write_text(self, annotation: str | ForwardRef, context: Context) -> str:
        meaning = context.scope.resolve(annotation)
        text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
        if text.isidentifier() and get_origin(meaning) is not None:
            # An alias that is quoted may contain itself, as `Json = dict[str, "Json"] | str`.
            return self.classes.alias((context.scope.module, text), text, meaning, context)
        return self.write(meaning, context)

    def write_alias(self, alias: Any, args: Sequence[Any], context: Context) -> str:
        """Writes what `type X = ...` has defined."""
        scope = Scope(alias.__module__)
        inner = dict(zip(alias.__type_params__, args, strict=False))
        if inner:
            value = substitute(alias.__value__, inner)
            deeper = replace(context, scope=scope, depth=context.depth + 1)
            return self.any if context.depth > _DEEPEST else self.write(value, deeper)
        return self.classes.alias(
            alias, alias.__name__, alias.__value__, replace(context, scope=scope)
        )

    def write_variable(self, variable: Any, context: Context) -> str:
        if context.owner is not Any:  # in a class, where no function's variable can stand
            return self.write(variable.__bound__ or Any, context)
        if variable.__name__ not in self._variable_names:
            self._variable_names[variable.__name__] = self.names.new(variable.__name__)
        name = self._variable_names[variable.__name__]
        if variable in self.variables:
            return name
        if any(each.__name__ == variable.__name__ for each in self.variables):
            return self.any
        limits = [variable.__bound__] if variable.__bound__ else [*variable.__constraints__]
        if any(each not in _PLAIN for each in limits):
            limits = []  # what comes back may be of another type than what went out
        written = ", ".join(self.write(each, context) for each in limits)
        limit = f": ({written})" if len(limits) > 1 else f": {written}" if limits else ""
        self.variables[variable] = f"{name}{limit}"
        return name

    def write_values(self, values: Iterable[Any], context: Context) -> str:
        """Writes the values of a Literal or an Enum, as the codec gives them."""
        values = [stored(each) if isinstance(each, Enum) else each for each in values]
        bases = self.union(self.write(type(each), context) for each in values)
        is_exact = all(
            type(each) in _LITERALS and not (type(each) is int and abs(each) >= _LARGEST)
            for each in values
        )
        is_short = 0 < len(values) <= _MOST_VALUES
        if not is_exact or not is_short or context.way is Way.LENIENT:
            return bases
        written = ", ".join(dict.fromkeys(map(repr, values)))
        return f"{self.names.imported('typing', 'Literal')}[{written}]"

    def union(self, written: Iterable[str]) -> str:
        return " | ".join(dict.fromkeys(written)) or self.any

    def write_class(self, kind: type, args: Sequence[Any], context: Context) -> str:
        if kind in _CONTAINERS:
            return self.write_container(*_CONTAINERS[kind], args, context)
        if kind is Counter:
            return self.write_container(dict, 2, [*args, int], context)
        if kind is tzinfo:
            return self.union(self.write(each, context) for each in (timezone, str))
        if issubclass(kind, Flag):
            return self.write(int, context)
        if issubclass(kind, Enum):
            return self.write_values(kind, context)
        return self.classes.write(kind, args, context) or self.write_base(kind, context)

    def write_base(self, kind: type, context: Context) -> str:
        """Writes the base as which the codec stores the instances of a class."""
        for base in kind.__mro__:
            if base in _PLAIN:
                return self.names.imported(*_PLAIN[base])
            if base in (list, dict, set, frozenset):
                return self.write(base, context)
            if base is tuple:
                return self.write_tuple([Any, ...], context)
        return self.any

    def write_container(
        self, kind: type, count: int, args: Sequence[Any], context: Context
    ) -> str:
        padded = [*args, *[Any] * count][:count]
        inner = ", ".join(self.write(arg, context) for arg in padded)
        if context.way is Way.LENIENT and kind in (list, dict):
            return f"{self.classes.lenient(kind)}[{inner}]"
        if context.way is Way.LENIENT and kind is set:
            kind = abc.Set
        module = kind.__module__
        return f"{self.names.imported(module, kind.__name__)}[{inner}]"

    def write_tuple(self, args: Sequence[Any], context: Context) -> str:
        inner = []
        for arg in args:
            unpacked = getattr(arg, "__unpacked__", False) or get_origin(arg) is Unpack
            if unpacked and get_origin(arg) is not tuple:
                return self.write_tuple([Any, ...], context)
            text = "..." if arg is Ellipsis else self.write(arg, context)
            inner.append(f"*{text}" if unpacked else text)
        return f"{self.names.imported('builtins', 'tuple')}[{', '.join(inner) or '()'}]"
