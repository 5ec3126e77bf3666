"""Source that is written in the admin: its fields, and what the type checker says of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty import conf
from durable_monty.admin.values.call_signature import purpose, signature
from durable_monty.exceptions import (
    DurableMontyError,
    FunctionError,
    HostFault,
    InvalidWorkflow,
)
from durable_monty.functions import resolve_functions
from durable_monty.operations import check_source
from durable_monty.program_check import REFUSED, check_program
from durable_monty.sandbox import SYNTAX, Complaint

logger = logging.getLogger("durable_monty")

_SHOWN = 20


class SourceField(forms.CharField):
    """Browsers send line ends as CR LF; the source has LF."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            label=_("Source"),
            strip=False,
            widget=AdminTextareaWidget(
                attrs={"rows": 20, "spellcheck": "false", "data-dm-editor": ""}
            ),
            help_text=_(
                "Python, with await at the top level. The last expression is the output. The Tab "
                "key indents; press Escape first to leave the field with it."
            ),
            **options,
        )

    def to_python(self, value: Any) -> str:
        return unix_lines(str(super().to_python(value)))


class FunctionsField(forms.MultipleChoiceField):
    def __init__(self, names: Iterable[str] = (), **options: Any) -> None:
        super().__init__(
            label=_("Functions"),
            required=False,
            widget=forms.CheckboxSelectMultiple,
            help_text=_("What the workflow may call."),
            choices=[(name, _described(name)) for name in sorted(names)],
            **options,
        )


class SourceForm(forms.Form):
    """A form with `source` and `functions`. Complaints that may be false alarms can be overruled,
    with `anyway`; those that a start refuses cannot."""

    anyway = forms.BooleanField(
        label=_("Take it all the same"),
        required=False,
        widget=forms.HiddenInput,
        help_text=_("The type checker can be wrong; the workflow fails where it is right."),
    )

    def check_source(self, source: str, functions: Iterable[str], inputs: Iterable[str]) -> None:
        """Adds an error to `source` for each complaint."""
        try:
            complaints = _complaints(source, functions, inputs)
        except FunctionError as exc:
            self.add_error("functions", str(exc))
            return
        if complaints and not any(map(_is_refused, complaints)):
            self.fields["anyway"].widget = forms.CheckboxInput()
            if self.cleaned_data.get("anyway"):
                return
        for complaint in complaints[:_SHOWN]:
            self.add_error("source", _sentence(complaint))

    def refuse(self, exc: DurableMontyError, field: str | None) -> None:
        """What an operation refused, at the field, if the form has it."""
        self.add_error(field if field in self.fields else None, str(exc))


def unix_lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def _complaints(
    source: str, functions: Iterable[str], inputs: Iterable[str]
) -> Sequence[Complaint]:
    resolved = resolve_functions(functions)
    try:
        check_source(source)
        return check_program(source, resolved, inputs)
    except InvalidWorkflow:
        return []  # the operation refuses it, and says why
    except HostFault as exc:
        logger.warning("The source was not checked: %s", exc, extra={"reason": str(exc)})
        return []


def _is_refused(complaint: Complaint) -> bool:
    """Whether the operation would refuse it, so that it cannot be overruled here."""
    refused = REFUSED if conf.current().CHECK == "error" else {SYNTAX}
    return complaint.rule in refused


def _sentence(complaint: Complaint) -> str:
    return gettext("Line %(line)d, column %(column)d: %(message)s.") % {
        "line": complaint.line,
        "column": complaint.column,
        "message": complaint.message.rstrip("."),
    }


def _described(name: str) -> SafeString:
    about = purpose(name).partition("\n\n")[0]
    return format_html("<code>{}</code> {}", signature(name) or name, about)
