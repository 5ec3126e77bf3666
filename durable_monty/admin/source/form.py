"""Forms for workflow source that is written in the admin, checked by the type checker."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget
from django.utils.html import format_html
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
from durable_monty.operations.sources import Code
from durable_monty.program_check import REFUSED, check_program
from durable_monty.sandbox import SYNTAX, Complaint

logger = logging.getLogger("durable_monty")

_COMPLAINTS_SHOWN = 20


class SourceField(forms.CharField):
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
        choices = []
        for name in sorted(names):
            summary = purpose(name).partition("\n\n")[0]
            label = format_html("<code>{}</code> {}", signature(name) or name, summary)
            choices.append((name, label))
        super().__init__(
            label=_("Functions"),
            required=False,
            widget=forms.CheckboxSelectMultiple,
            help_text=_("Functions that the workflow may call."),
            choices=choices,
            **options,
        )


class SourceForm(forms.Form):
    """A form with the fields `source` and `functions`.

    `anyway` overrules complaints of the type checker that may be false alarms. It does not
    overrule those that a start refuses.
    """

    # Hidden until there is a complaint that it can overrule.
    anyway = forms.BooleanField(
        label=_("Start anyway"),
        required=False,
        widget=forms.HiddenInput,
        help_text=_("If the type checker is right, the workflow will fail at these places."),
    )

    def source_fields(self) -> list[str]:
        """Returns the names of the fields for source, in their order on the page."""
        is_hidden = self.fields["anyway"].widget.is_hidden
        return ["source", *([] if is_hidden else ["anyway"]), "functions"]

    def code_of(self, source: str, functions: Iterable[str]) -> Code:
        """Returns the code that an execution would have. Raises `FunctionError`."""
        return Code(source, resolve_functions(functions))

    def check_source(
        self, source: str, functions: Iterable[str], inputs: Mapping[str, Any]
    ) -> None:
        """Adds an error to `source` for each complaint."""
        try:
            complaints = _complaints(self.code_of(source, functions), inputs)
        except FunctionError as exc:
            self.add_error("functions", str(exc))
            return
        refused = REFUSED if conf.current().CHECK == "error" else {SYNTAX}
        if complaints and not any(complaint.rule in refused for complaint in complaints):
            self.fields["anyway"].widget = forms.CheckboxInput()
            if self.cleaned_data.get("anyway"):
                return
        text = gettext("Line %(line)d, column %(column)d: %(message)s.")
        for complaint in complaints[:_COMPLAINTS_SHOWN]:
            message = complaint.message.rstrip(".")
            values = {"line": complaint.line, "column": complaint.column, "message": message}
            self.add_error("source", text % values)

    def refuse(self, exc: DurableMontyError) -> None:
        """Adds the error of an operation, to the field at fault if the form has it."""
        field = self.field_at_fault(exc)
        self.add_error(field if field in self.fields else None, str(exc))

    def field_at_fault(self, exc: DurableMontyError) -> str | None:
        return "functions" if isinstance(exc, FunctionError) else "source"


def unix_lines(text: str) -> str:
    """Returns the text with the line ends of source: browsers send CR LF."""
    return text.replace("\r\n", "\n")


def _complaints(code: Code, inputs: Mapping[str, Any]) -> Sequence[Complaint]:
    try:
        # Its size is limited first: the checker is slow with a huge source.
        check_source(code.source)
        return check_program(code.source, code.functions, code.variables(inputs))
    except InvalidWorkflow:
        return []  # the operation refuses it and gives the reason
    except HostFault as exc:
        # A broken type checker must not keep people from starting workflows.
        logger.warning("The source was not checked: %s", exc, extra={"reason": str(exc)})
        return []
