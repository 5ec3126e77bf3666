"""Form fields for values of an annotated type; other types are typed as JSON.

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

from durable_monty import codec, conf
from durable_monty.admin.values.type_names import example, mismatch, type_name
from durable_monty.exceptions import CorruptValue, UnstorableValue, WrongResult
from durable_monty.operations.answer import Answer

# More choices than these become a list that opens.
_RADIOS = 8
_FIELDS: dict[type, type[forms.Field]] = {
    int: forms.IntegerField,
    float: forms.FloatField,
    Decimal: forms.DecimalField,
    date: forms.DateField,
    time: forms.TimeField,
    datetime: forms.DateTimeField,
}
# Widgets of the browser, in the formats that HTML prescribes for their values.
_WIDGETS: dict[type, tuple[Any, str, str]] = {
    date: (forms.DateInput, "date", "%Y-%m-%d"),
    time: (forms.TimeInput, "time", "%H:%M:%S"),
    datetime: (forms.DateTimeInput, "datetime-local", "%Y-%m-%dT%H:%M:%S"),
}


def field_of(annotation: Any, *, label: Any = None, required: bool = True) -> forms.Field:
    """Returns a field for values of a type, or for any value if `annotation` is None.

    An empty field gives None if it is not `required` or the type allows None.
    """
    inner, optional = annotation, False
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        others = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
        if len(others) == 1:
            inner, optional = others[0], True
    options: dict[str, Any] = {"label": label, "required": required and not optional}
    if choices := _choices(inner):
        if optional:
            # A choice of its own: an empty one would look like a missing answer.
            choices.append(("null", _("Nothing")))
        return ChoiceField(choices, **{**options, "required": required})
    if inner is str:
        # Spaces at the ends may be a part of the answer.
        widget = AdminTextareaWidget(attrs={"rows": 3})
        return TextField(strip=False, widget=widget, empty_value=None, **options)
    if inner not in _FIELDS:
        return JSONField(annotation, **options)
    if inner in _WIDGETS:
        input_class, input_type, text_format = _WIDGETS[inner]
        attrs = {"type": input_type, "step": "any"}
        options["widget"] = input_class(attrs=attrs, format=text_format)
    if inner is datetime:
        zone = timezone.get_current_timezone_name()
        options["help_text"] = gettext("In the time zone %(zone)s.") % {"zone": zone}
    return _FIELDS[inner](**options)


def fields_of_dataclass(annotation: Any) -> dict[str, forms.Field]:
    """Returns the fields of a dataclass by name; an empty dict for other types."""
    if not (isinstance(annotation, type) and dataclasses.is_dataclass(annotation)):
        return {}
    try:
        hints = typing.get_type_hints(annotation)
    except Exception:  # noqa: BLE001  (annotations as text can be any code)
        hints = {}
    return {
        field.name: field_of(hints.get(field.name), label=field.name)
        for field in dataclasses.fields(annotation)
    }


def encode_result(form: forms.BaseForm, field: str, value: Any, function: str = "") -> str | None:
    """Returns the codec's text of a result.

    Adds an error to `field` if it cannot be stored, or does not fit what the function returns.
    """
    try:
        text = codec.encode(value, path="result", max_bytes=conf.current().MAX_VALUE_BYTES)
        Answer(text).fit(function)
        return text
    except WrongResult as exc:
        form.add_error(field, str(exc))
        return None
    except UnstorableValue as exc:
        form.add_error(field, _("This cannot be stored: %(why)s") % {"why": exc})
        return None


class ChoiceField(forms.TypedChoiceField):
    """Radio buttons, or a list if there are many choices.

    It has no default, so that nobody refuses something by accident.
    """

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
    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        # Browsers send line ends as CR LF.
        return text if text is None else text.replace("\r\n", "\n")


class JSONField(forms.CharField):
    """JSON as people type it, with the codec's tags, checked against a type."""

    def __init__(self, annotation: Any = None, path: str = "result", **options: Any) -> None:
        self.annotation, self.path = annotation, path
        text = gettext('Enter JSON: text in "double quotes", null for nothing.')
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
            # JSON has only lists; people need not know the codec's tags.
            found = kind(found)
        if why := mismatch(found, self.annotation, self.path):
            raise ValidationError(why, code="type")
        return found


def _choices(annotation: Any) -> list[tuple[str, Any]]:
    """Returns the codec's text of each value that the type allows, with its label."""
    if annotation in (bool, "bool"):
        return [("true", _("Yes")), ("false", _("No"))]
    named: list[tuple[Any, Any]] = []
    if typing.get_origin(annotation) is Literal:
        named = [(value, str(value)) for value in typing.get_args(annotation)]
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        for member in annotation:
            words = member.name.replace("_", " ").capitalize()
            named.append((member.value, getattr(member, "label", words)))  # as Django's choices
    try:
        return [(codec.encode(value), label) for value, label in named]
    except UnstorableValue:
        return []
