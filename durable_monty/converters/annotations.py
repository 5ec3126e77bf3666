"""Finds the converter for the values of an annotated type."""

from __future__ import annotations

import collections
import collections.abc as abstract
import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from durable_monty.codec import NamedRecord, encode
from durable_monty.codec.limits import short
from durable_monty.converters.misfit import Convert, Misfit
from durable_monty.converters.values import (
    convert_items,
    convert_mapping,
    convert_member,
    convert_model,
    convert_text,
    convert_tuple,
)
from durable_monty.exceptions import UnstorableValue

_ITEMS = (
    *(list, tuple, set, frozenset, collections.deque),
    *(abstract.Collection, abstract.Iterable, abstract.Sequence, abstract.Set),
    *(abstract.MutableSequence, abstract.MutableSet),
)
_MAPPINGS = (
    *(dict, collections.OrderedDict, collections.defaultdict),
    *(abstract.Mapping, abstract.MutableMapping),
)
_UNIONS = (typing.Union, types.UnionType)
_WRAPPERS = (typing.Annotated, typing.Final, typing.NotRequired, typing.Required)
# Values that a union takes as they are, if it names their type.
_PLAIN = (bool, int, float, complex, str, bytes, dict)
# Classes that are converted as a whole.
_WHOLES: tuple[tuple[Callable[[type], bool], Callable[..., Any]], ...] = (
    (lambda kind: kind in (UUID, ZoneInfo), convert_text),
    (lambda kind: issubclass(kind, Enum) and _are_storable(kind), convert_member),
    (lambda kind: callable(getattr(kind, "model_validate", None)), convert_model),  # of pydantic
)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def converter_of(annotation: Any, scope: Mapping[Any, Any]) -> Convert | None:
    """Returns the converter for a type, or None if its values are passed as they are.

    `scope` has the names of annotations that are texts, and the types of type variables. An
    annotation that cannot be read, as it may be any code of the project, has no converter.
    """
    try:
        return _converter(annotation, dict(scope))
    except Exception:  # noqa: BLE001  (it may raise anything)
        return None


def signature_of(func: Callable[..., Any]) -> inspect.Signature:
    """Returns a signature whose annotations may be texts or forward references."""
    if sys.version_info >= (3, 14):  # where annotations are code that runs when they are read
        import annotationlib

        return inspect.signature(func, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(func)


def _converter(annotation: Any, scope: dict[Any, Any]) -> Convert | None:
    annotation = _stripped(annotation, scope)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in _UNIONS:
        return _Union(args, scope).convert
    kind = annotation if origin is None else origin
    if not isinstance(kind, type) or origin is type:
        return None
    if dataclasses.is_dataclass(kind) or _is_named_tuple(kind) or typing.is_typeddict(kind):
        arguments = [_stripped(arg, scope) for arg in args]
        variables = getattr(kind, "__parameters__", ())
        return _Fields(kind, dict(zip(variables, arguments, strict=False))).convert
    if kind in _ITEMS or kind in _MAPPINGS:
        return _container(kind, args, scope)
    convert = next((convert for fits, convert in _WHOLES if fits(kind)), None)
    return None if convert is None else partial(convert, kind)


def _container(kind: Any, args: tuple[Any, ...], scope: dict[Any, Any]) -> Convert | None:
    inner = [_converter(arg, scope) for arg in args if arg is not Ellipsis]
    if not any(inner):
        return None
    if kind in _MAPPINGS:
        return partial(convert_mapping, kind, inner)
    if kind is tuple and Ellipsis not in args:
        return partial(convert_tuple, inner)
    return partial(convert_items, kind, inner[0])


def _stripped(annotation: Any, scope: dict[Any, Any]) -> Any:
    """Returns the type that an annotation stands for, without Annotated, aliases and the like."""
    while True:
        if isinstance(annotation, typing.ForwardRef):
            annotation = annotation.__forward_arg__
        elif isinstance(annotation, str):
            annotation = eval(annotation, scope)  # noqa: S307  (of the project's own code)
        elif typing.get_origin(annotation) in _WRAPPERS:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.TypeVar):
            annotation = scope.get(annotation, annotation.__bound__ or object)
        elif isinstance(annotation, dataclasses.InitVar):
            annotation = annotation.type
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":  # Python 3.12's `type X = ...`
            annotation = annotation.__value__
        else:
            return annotation


class _Union:
    """Tries the members of a union: those named as the record first, then in their order."""

    def __init__(self, args: tuple[Any, ...], scope: dict[Any, Any]) -> None:
        self.converters: list[Convert] = []
        others: list[Any] = []
        for arg in args:
            convert = _converter(arg, scope)
            if convert is not None:
                self.converters.append(convert)
            else:
                member = _stripped(arg, scope)
                others.append(typing.get_origin(member) or member)
        self.plain = tuple(kind for kind in others if kind in _PLAIN)
        self.takes_others = any(kind is not types.NoneType for kind in others)

    @property
    def convert(self) -> Convert | None:
        return self._convert if self.converters else None

    def _convert(self, value: Any, path: str) -> Any:
        if value is None or isinstance(value, self.plain):
            return value
        named = [each for each in self.converters if _is_named_as(each, value)]
        misfits: list[Misfit] = []
        for convert in named or self.converters:
            try:
                return convert(value, path)
            except Misfit as misfit:
                misfits.append(misfit)
        if self.takes_others:
            return value
        if len(misfits) > 1:
            kinds = " or ".join(dict.fromkeys(misfit.kind for misfit in misfits))
            raise Misfit(path, kinds, f"it is {short(value)}")
        raise misfits[0]


def _is_named_as(convert: Convert, value: Any) -> bool:
    fields = getattr(convert, "__self__", None)
    if not isinstance(fields, _Fields) or not isinstance(value, NamedRecord):
        return False
    return fields.class_named(type(value).__name__) is not None


class _Constructor(NamedTuple):
    """How an instance is made. `late` fields are set after that: they have `init=False`."""

    kind: str
    accepted: frozenset[str]
    required: tuple[str, ...]
    late: frozenset[str]
    takes_any: bool
    converters: Mapping[str, Convert]

    def check(self, values: Mapping[Any, Any], path: str) -> None:
        """Raises `Misfit` for an unknown field and for a missing one."""
        known = self.accepted | self.late
        for name in () if self.takes_any else values:
            if name not in known:
                names = ", ".join(sorted(known)) or "none"
                why = f"there is no field {short(name)} (fields: {names})"
                raise Misfit(path, self.kind, why)
        for name in self.required:
            if name not in values:
                raise Misfit(path, self.kind, f"the field {name!r} is missing")


class _Fields:
    """Makes a dataclass, a named tuple or a TypedDict. `arguments` are those of a generic one."""

    def __init__(self, kind: Any, arguments: Mapping[Any, Any]) -> None:
        self.kind, self.arguments = kind, arguments
        self.constructors: dict[Any, _Constructor] = {}

    def convert(self, value: Any, path: str) -> Any:
        kind = self.kind
        if value is None or (not typing.is_typeddict(kind) and isinstance(value, kind)):
            return value
        if isinstance(value, NamedRecord):
            kind = self.class_named(type(value).__name__) or kind
            value = value._asdict()
        elif isinstance(value, tuple) and _is_named_tuple(kind):
            if len(value) > len(kind._fields):
                raise Misfit(path, kind.__name__, f"it has {len(value)} items")
            value = dict(zip(kind._fields, value, strict=False))
        elif not isinstance(value, dict):
            raise Misfit(path, kind.__name__, f"it is {short(value)}")
        # Read at the first use: a class refers to itself, and to others that come later.
        if (constructor := self.constructors.get(kind)) is None:
            constructor = self.constructors[kind] = _constructor_of(kind, self.arguments)
        constructor.check(value, path)
        values = dict(value)
        for name in constructor.converters.keys() & values.keys():
            values[name] = constructor.converters[name](values[name], f"{path}.{name}")
        late = {name: values.pop(name) for name in constructor.late & values.keys()}
        made = kind(**values)
        for name, item in late.items():
            object.__setattr__(made, name, item)  # the class may be frozen
        return made

    def class_named(self, name: str) -> Any:
        """Returns the class or the subclass of it that has this name, or None."""
        if self.kind.__name__ == name:
            return self.kind
        found, classes = None, [] if typing.is_typeddict(self.kind) else [self.kind]
        while classes:
            subclasses = classes.pop(0).__subclasses__()
            classes += subclasses
            # The last one: `dataclass(slots=True)` leaves the class behind that it has replaced.
            found = next((each for each in reversed(subclasses) if each.__name__ == name), found)
        return found


def _constructor_of(kind: Any, arguments: Mapping[Any, Any]) -> _Constructor:
    own = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001  (one that cannot be read leaves the others)
        hints = {field.name: field.type for field in own}
    scope = {**vars(sys.modules.get(kind.__module__, types)), **arguments}
    found = {name: converter_of(hint, scope) for name, hint in hints.items()}
    converters = {name: convert for name, convert in found.items() if convert is not None}
    if typing.is_typeddict(kind):
        return _Constructor(kind.__name__, frozenset(), (), frozenset(), True, converters)
    parameters = signature_of(kind).parameters.values()
    by_name = {each.name: each.default for each in parameters if each.kind in _BY_NAME}
    return _Constructor(
        kind=kind.__name__,
        accepted=frozenset(by_name),
        required=tuple(name for name, default in by_name.items() if default is inspect._empty),
        late=frozenset(field.name for field in own if not field.init).difference(by_name),
        takes_any=any(each.kind is each.VAR_KEYWORD for each in parameters),
        converters=converters,
    )


def _are_storable(kind: type[Enum]) -> bool:
    """Returns whether the values of the members can come from a workflow at all."""
    try:
        encode([member.value for member in kind])
    except UnstorableValue:
        return False
    return True


def _is_named_tuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")
