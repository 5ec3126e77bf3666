"""Form fields for values of an annotated type; what no field fits is typed as JSON.

A field cleans to a value that `codec.encode` takes.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

from django import forms
from django.contrib.admin.widgets import AdminRadioSelect, AdminTextareaWidget
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.html import escape
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty import codec
from durable_monty.admin.values.type_names import example, mismatch, type_name
from durable_monty.exceptions import CorruptValue, UnstorableValue

_NONE = type(None)
# More choices than these are a list that opens.
_RADIOS = 8
_INPUTS: dict[type, tuple[type[forms.Field], str]] = {
    int: (forms.IntegerField, ""),
    float: (forms.FloatField, ""),
    Decimal: (forms.DecimalField, ""),
    date: (forms.DateField, "date"),
    time: (forms.TimeField, "time"),
    datetime: (forms.DateTimeField, "datetime-local"),
}


def field_of(annotation: Any, *, label: Any = None, required: bool = True) -> forms.Field:
    """`annotation`: a type, or None if there is none. Not `required`: nothing gives None."""
    inner, optional = _without_none(annotation)
    options: dict[str, Any] = {"label": label, "required": required and not optional}
    if choices := _choices(inner):
        if optional:
            choices.append(("null", _("Nothing")))
        return ChoiceField(choices, **{**options, "required": required})
    if inner is str:
        widget = AdminTextareaWidget(attrs={"rows": 3})
        return TextField(strip=False, widget=widget, empty_value=None, **options)
    if inner in _INPUTS:
        kind, input_type = _INPUTS[inner]
        if input_type:
            options["widget"] = _input(input_type)
        if inner is datetime:
            zone = timezone.get_current_timezone_name()
            options["help_text"] = gettext("In the time zone %(zone)s.") % {"zone": zone}
        return kind(**options)
    return JSONField(annotation, **options)


def parts_of(annotation: Any) -> dict[str, forms.Field]:
    """Name -> field, of a dataclass; empty, if it is none, or has a part that has no name here."""
    if not (isinstance(annotation, type) and dataclasses.is_dataclass(annotation)):
        return {}
    try:
        hints = typing.get_type_hints(annotation)
    except Exception:  # noqa: BLE001  (annotations as text can be any code)
        hints = {}
    return {
        part.name: field_of(hints.get(part.name), label=part.name)
        for part in dataclasses.fields(annotation)
    }


class ChoiceField(forms.TypedChoiceField):
    """Radio buttons, without a default: nobody shall refuse by accident. Many are a list."""

    def __init__(self, choices: list[tuple[str, Any]], **options: Any) -> None:
        if len(choices) > _RADIOS:
            choices = [("", "---------"), *choices]
        super().__init__(
            choices=choices,
            coerce=codec.decode,
            empty_value=None,
            widget=forms.Select if len(choices) > _RADIOS else AdminRadioSelect,
            **options,
        )


class TextField(forms.CharField):
    """A text as it was typed; browsers send line ends as CR LF."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        return text if text is None else text.replace("\r\n", "\n")


class JSONField(forms.CharField):
    """JSON as people type it, tags of the codec allowed, checked against a type."""

    def __init__(self, annotation: Any = None, path: str = "result", **options: Any) -> None:
        self.annotation, self.path = annotation, path
        text = gettext("JSON: a text stands in double quotes, nothing is null.")
        if annotation is not None:
            text += " " + gettext("Type: %(type)s.") % {"type": type_name(annotation)}
            if sample := example(annotation):
                text += " " + gettext("For example: %(example)s") % {"example": sample}
        super().__init__(
            widget=AdminTextareaWidget(attrs={"rows": 4, "spellcheck": "false"}),
            help_text=escape(text),
            **options,
        )

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            found = codec.decode(text)
        except CorruptValue as exc:
            raise ValidationError(
                _("This is not JSON: %(why)s"),
                code="json",
                params={"why": str(exc.__cause__ or exc)},
            ) from exc
        kind = typing.get_origin(self.annotation) or self.annotation
        if isinstance(found, list) and kind in (tuple, set, frozenset):
            found = kind(found)
        if why := mismatch(found, self.annotation, self.path):
            raise ValidationError(why, code="type")
        return found


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """`X | None` as (X, True)."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        inner = [arg for arg in typing.get_args(annotation) if arg is not _NONE]
        if len(inner) == 1:
            return inner[0], True
    return annotation, False


def _choices(annotation: Any) -> list[tuple[str, Any]]:
    """The codec's text of each value, with its label."""
    if annotation in (bool, "bool"):
        return [("true", _("Yes")), ("false", _("No"))]
    named: list[tuple[Any, Any]] = []
    if typing.get_origin(annotation) is Literal:
        named = [(value, str(value)) for value in typing.get_args(annotation)]
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        named = [(member.value, _label(member)) for member in annotation]
    try:
        return [(codec.encode(value), label) for value, label in named]
    except UnstorableValue:
        return []


def _label(member: Enum) -> Any:
    """Django's choices have labels."""
    return getattr(member, "label", member.name.replace("_", " ").capitalize())


def _input(kind: str) -> forms.Widget:
    widget: Any
    widget, text = _WIDGETS[kind]
    found: forms.Widget = widget(attrs={"type": kind, "step": "any"}, format=text)
    return found


_WIDGETS = {
    "date": (forms.DateInput, "%Y-%m-%d"),
    "time": (forms.TimeInput, "%H:%M:%S"),
    "datetime-local": (forms.DateTimeInput, "%Y-%m-%dT%H:%M:%S"),
}
