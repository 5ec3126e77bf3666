"""Declares the classes of values that a workflow sees: named tuples and dicts of known keys."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from durable_monty.codec.records import record_type
from durable_monty.stubs import fields
from durable_monty.stubs.context import Context, Way
from durable_monty.stubs.fields import Field
from durable_monty.stubs.names import Names

if TYPE_CHECKING:
    from durable_monty.stubs.types import Types

_DEEPEST = 4
# Lists and dicts that may have elements of a narrower type.
_LENIENT: dict[Any, tuple[str, str]] = {
    list: (
        "List",
        "class {name}[T]({Protocol}):\n"
        "    def __iter__(self) -> {Iterable}[T]: ...\n"
        "    def reverse(self) -> None: ...",
    ),
    dict: (
        "Dict",
        "class {name}[K, V]({Protocol}):\n    def items(self) -> {Iterable}[{tuple}[K, V]]: ...",
    ),
}


class Classes:
    """The classes and aliases of one text of stubs. They are named after those of the project.

    Calls make them: in the body of a class, `date: date` hides the type from the fields after it.
    """

    def __init__(self, types: Types, names: Names) -> None:
        self.types, self.names = types, names
        self.lines: list[str] = []
        self._known: dict[Any, str] = {}

    def alias(self, key: Any, wanted: str, value: Any, context: Context) -> str:
        """Returns the name of an alias, which may contain itself."""
        return self._declared(
            (key, context.way, context.is_dumped),
            wanted,
            lambda name: f"type {name} = {self.types.write(value, replace(context, owner=None))}",
        )

    def write(self, cls: Any, args: Sequence[Any], context: Context) -> str:
        """Returns the type of a class that has fields, or "" for another class."""
        args = args or [Any] * len(getattr(cls, "__parameters__", ()))
        owner = cls[tuple(args)] if args else cls
        inner = replace(context, owner=owner, depth=context.depth + bool(args))
        if inner.depth > _DEEPEST:  # a generic class can contain itself with ever longer arguments
            return self.types.any
        if hasattr(cls, "__required_keys__"):
            is_lenient = context.way is Way.LENIENT
            return self._any_dict(inner) if is_lenient else self.unpacked(cls, args, inner)
        if issubclass(cls, tuple) and hasattr(cls, "_fields"):
            return self.write_record(cls, [*fields.named_tuple_fields(cls, args)], inner)
        if dataclasses.is_dataclass(cls):
            return self.write_record(cls, [*fields.dataclass_fields(cls, args)], inner)
        return self.write_model(cls, inner) if hasattr(cls, "model_dump") else ""

    def unpacked(self, cls: Any, args: Sequence[Any], context: Context) -> str:
        """Returns the name of a TypedDict that describes keyword arguments, or is a result."""
        owner = cls[tuple(args)] if args else cls
        way = context.way if context.way is Way.LENIENT else Way.RESULT
        found = [*fields.typed_dict_fields(cls, args)]
        return self.write_dict(_name_of(owner), found, replace(context, owner=owner, way=way))

    def lenient(self, kind: type) -> str:
        """Returns the name of a list or dict that may have elements of a narrower type."""
        wanted, body = _LENIENT[kind]
        imported = {
            name: self.names.imported(module, name)
            for module, name in (
                ("typing", "Protocol"),
                ("collections.abc", "Iterable"),
                ("builtins", "tuple"),
            )
        }
        return self._declared(kind, wanted, lambda name: body.format(name=name, **imported))

    def _declared(self, key: Any, wanted: str, line: Callable[[str], str]) -> str:
        if key not in self._known:
            # Before its fields are written, which may be of the class itself.
            name = self._known[key] = self.names.new(re.sub(r"\W+", "_", wanted).strip("_"))
            self.lines.append(line(name))
        return self._known[key]

    def _any_dict(self, context: Context) -> str:
        return self.types.write(dict[str, Any], context)

    def write_record(self, cls: Any, found: list[Field], context: Context) -> str:
        """Writes a dataclass or NamedTuple: a named tuple, unless a field has no name for that."""
        is_tuple = issubclass(cls, tuple)
        is_named = record_type(cls.__name__, tuple(each.name for each in found)) is not None
        if not is_tuple and (context.is_dumped or not is_named):
            if context.way is Way.LENIENT:
                return self._any_dict(context)
            if context.way is Way.RESULT:
                found = [replace(each, is_required=True) for each in found]
            return self.write_dict(_name_of(context.owner), found, context)
        if not is_named:
            return self.types.write(tuple, context)
        if context.way is Way.LENIENT:
            return self.types.union([self.write_like(found, context), self._any_dict(context)])
        make = self.names.imported("typing", "NamedTuple")
        inner = replace(context, way=Way.RESULT)

        def line(name: str) -> str:
            return f"{name} = {make}({name!r}, {self._written(found, inner)})"

        record = self._declared(context.owner, _name_of(context.owner), line)
        if context.way is Way.RESULT:
            return record
        # The function makes an instance of a dict, too.
        return self.types.union([record, self._any_dict(context)])

    def write_like(self, found: list[Field], context: Context) -> str:
        """Writes what has the attributes of a record, as an instance of a workflow's class may."""
        protocol = self.names.imported("typing", "Protocol")

        def line(name: str) -> str:
            required = [each for each in found if each.is_required]
            body = []
            for attribute, text in self._written(required, context):
                alias = self.names.new(f"{name}_{attribute}")
                self.lines.append(f"type {alias} = {text}")
                body += ["    @property", f"    def {attribute}(self) -> {alias}: ..."]
            return "\n".join([f"class {name}({protocol}):", *(body or ["    ..."])])

        return self._declared((context.owner, Way.LENIENT), _name_of(context.owner), line)

    def write_dict(self, wanted: str, found: list[Field], context: Context) -> str:
        make = self.names.imported("typing", "TypedDict")
        if context.way is Way.ARGUMENT:  # with other keys than the result
            wanted += "Argument"

        def line(name: str) -> str:
            written = self._written(found, context)
            for place, (each, (key, text)) in enumerate(zip(found, written, strict=True)):
                if not each.is_required:
                    mark = self.names.imported("typing", "NotRequired")
                    written[place] = key, f"{mark}[{text}]"
            return f"{name} = {make}({name!r}, {dict(written)})"

        key = (context.owner, context.way, context.is_dumped)
        return self._declared(key, wanted, line)

    def write_model(self, cls: Any, context: Context) -> str:
        """Writes what `model_dump` gives; for an argument, the keys that make a model."""
        context = replace(context, is_dumped=True)
        if getattr(cls, "__pydantic_root_model__", False):
            return self.types.write(cls.model_fields["root"].annotation, context)
        is_result = context.way is Way.RESULT
        found = fields.model_fields(cls, is_result=is_result)
        if context.way is Way.LENIENT and found is not None:
            # A model is made of the attributes of a record, too.
            return self.types.union([self.write_like(found, context), self._any_dict(context)])
        if found is None:
            return self._any_dict(context)
        return self.write_dict(cls.__name__, found, context)

    def _written(self, found: Iterable[Field], context: Context) -> list[tuple[str, str]]:
        return [
            (
                each.name,
                self.types.write(
                    each.annotation,
                    replace(context, scope=each.scope, variables=each.variables),
                ),
            )
            for each in found
        ]


def _name_of(owner: Any) -> str:
    """Returns the name of a class, with its arguments if they say something: Box_int."""
    if all(arg is Any for arg in get_args(owner)):
        return str(owner.__name__)
    return re.sub(r"[\w.]+\.", "", str(owner))
