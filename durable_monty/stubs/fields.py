"""Lists the fields of classes, each with the place where its annotation was written."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from durable_monty.stubs.forms import Variables, form_of, substitute
from durable_monty.stubs.scopes import Scope


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a class. `is_required` says whether its value must be given."""

    name: str
    annotation: Any
    scope: Scope = field(default_factory=Scope)
    variables: Variables = field(default_factory=dict)
    is_required: bool = True


def annotations_of(cls: type) -> Mapping[str, Any]:
    """Returns the annotations of a class itself, evaluated as far as possible."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(cls)


def dataclass_fields(cls: Any, args: Sequence[Any]) -> Iterator[Field]:
    variables = _variables(cls, args)
    for each in dataclasses.fields(cls):
        owner = next((base for base in cls.__mro__ if each.name in annotations_of(base)), cls)
        has_default = (
            each.default is not dataclasses.MISSING
            or each.default_factory is not dataclasses.MISSING
            or not each.init
        )
        yield Field(
            each.name, each.type, scope_of(owner), variables.get(owner, {}), not has_default
        )


def named_tuple_fields(cls: Any, args: Sequence[Any]) -> Iterator[Field]:
    variables, scope = _variables(cls, args)[cls], scope_of(cls)
    owner = next((base for base in cls.__mro__ if "_fields" in vars(base)), cls)
    annotations = annotations_of(owner)
    for name in cls._fields:
        is_required = name not in cls._field_defaults
        yield Field(name, annotations.get(name, Any), scope, variables, is_required)


def typed_dict_fields(cls: Any, args: Sequence[Any]) -> Iterator[Field]:
    variables, scope = _variables(cls, args)[cls], scope_of(cls)
    for name, annotation in annotations_of(cls).items():
        is_required, meaning = name in cls.__required_keys__, scope.resolve(annotation)
        while (mark := form_of(meaning)) in ("Annotated", "ReadOnly", "Required", "NotRequired"):
            if mark.endswith("Required"):  # in a text, which the class has not read
                is_required = mark == "Required"
            meaning = scope.resolve(typing.get_args(meaning)[0])
        yield Field(name, meaning, scope, variables, is_required)


def model_fields(cls: Any, *, is_result: bool) -> list[Field] | None:
    """Lists what `model_dump` of a pydantic model gives, or what its maker must be given.

    Returns None where other keys are possible. pydantic has resolved the annotations.
    """
    decorators = cls.__pydantic_decorators__
    by_alias = cls.model_config.get("serialize_by_alias") if is_result else None
    has_alias = any(each.alias or each.serialization_alias for each in cls.model_fields.values())
    is_open = cls.model_config.get("extra") == "allow" or decorators.model_serializers
    if is_open or (has_alias and (by_alias or not is_result)):
        return None
    changed = {name for each in decorators.field_serializers.values() for name in each.info.fields}
    found = []
    for name, each in cls.model_fields.items():
        # PlainSerializer and WrapSerializer stand in the metadata of an annotation.
        is_changed = not changed.isdisjoint((name, "*")) or any(
            hasattr(one, "when_used") for one in each.metadata
        )
        is_required = is_result or each.is_required()
        if not (is_result and each.exclude):
            annotation = Any if is_changed else each.annotation
            found.append(Field(name, annotation, is_required=is_required))
    if is_result:
        for name, each in cls.model_computed_fields.items():
            found.append(Field(name, each.return_type, scope_of(cls)))
    return found


def scope_of(cls: type) -> Scope:
    """Returns the scope of the annotations of a class."""
    parameters = {each.__name__: each for each in getattr(cls, "__type_params__", ())}
    own = {name: value for name, value in vars(cls).items() if isinstance(value, type)}
    return Scope(cls.__module__, {cls.__name__: cls, **own, **parameters})


def _variables(cls: Any, args: Sequence[Any]) -> dict[type, Variables]:
    """Returns what the type variables of a class and its bases stand for, by class."""
    own = dict(zip(getattr(cls, "__parameters__", ()), args, strict=False))
    found: dict[type, Variables] = {cls: own}
    for base in vars(cls).get("__orig_bases__", cls.__bases__):
        origin = typing.get_origin(base) or base
        if isinstance(origin, type) and origin not in (object, tuple, dict):
            found |= _variables(origin, [substitute(arg, own) for arg in typing.get_args(base)])
    return found
