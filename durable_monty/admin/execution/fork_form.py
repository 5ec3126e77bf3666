"""What a fork may have otherwise: answers of the calls that were open, and the source."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from django import forms
from django.contrib.admin.widgets import (
    AdminRadioSelect,
    AdminTextareaWidget,
    AdminTextInputWidget,
)
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty import codec, conf
from durable_monty.admin.formats import cut, editable, readable
from durable_monty.admin.source.form import (
    FunctionsField,
    SourceField,
    SourceForm,
    unix_lines,
)
from durable_monty.admin.values.call_signature import arguments, returns
from durable_monty.admin.values.typed_fields import JSONField
from durable_monty.exceptions import UnstorableValue
from durable_monty.models import Call, Execution
from durable_monty.operations import Answer, Edits
from durable_monty.operations.copies import has_answer

KEEP, AGAIN, RESULT, ERROR = "keep", "again", "result", "error"
_LONGEST = 300


class ForkForm(SourceForm):
    name = forms.CharField(
        label=_("Name"), required=False, max_length=200, widget=AdminTextInputWidget
    )
    keep_keys = forms.BooleanField(
        label=_("Keep idempotency keys"),
        required=False,
        help_text=_(
            "Calls that are run again keep the key that they had, so that a service outside "
            "recognises the second try. Without this each gets a new key."
        ),
    )
    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=2_000,
        widget=AdminTextareaWidget(attrs={"rows": 2}),
        help_text=_("For the history."),
    )

    def __init__(
        self,
        data: Any,
        execution: Execution,
        calls: Sequence[Call],
        *,
        functions: Collection[str] | None,
        again: str = "",
    ) -> None:
        """`calls`: those that can be answered otherwise; `functions`: those that edited source
        may call, None if the source may not be edited; `again`: the call to ask again, at
        first."""
        super().__init__(data)
        self.execution, self.calls, self.may_edit = execution, calls, functions is not None
        self.fields["name"].initial = execution.name
        # Whoever comes from a call wants that call tried a second time.
        self.fields["keep_keys"].initial = bool(again)
        for call in calls:
            self._add_call(call, again=again == str(call.call_id))
        if functions is not None:
            known = set(execution.program.functions.values())
            self.fields["source"] = SourceField(initial=execution.program.source)
            self.fields["functions"] = FunctionsField({*functions, *known}, initial=sorted(known))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        cleaned["answers"] = dict(self._answers(cleaned))
        if self.may_edit and self.is_edited(cleaned) and not self.errors:
            inputs = codec.decode(self.execution.inputs)
            self.check_source(cleaned["source"], cleaned["functions"], inputs)
        return cleaned

    def is_edited(self, cleaned: Mapping[str, Any]) -> bool:
        program = self.execution.program
        return cleaned.get("source") != unix_lines(program.source) or {
            *cleaned.get("functions", ())
        } != {*program.functions.values()}

    def edits(self, user: Any) -> Edits:
        given = self.cleaned_data
        edited = self.may_edit and self.is_edited(given)
        return Edits(
            code=given["source"] if edited else None,
            functions=given["functions"] if edited else None,
            answers=given["answers"],
            name=given["name"],
            user=user,
            reason=given["reason"],
            keep_keys=given["keep_keys"],
        )

    def fieldsets(self) -> list[Any]:
        sections: list[Any] = []
        for call in self.calls:
            names = [f"{what}_{call.call_id}" for what in ("answer", "result", "error")]
            sections.append((str(call), {"fields": names, "description": arguments(call)}))
        if self.may_edit:
            overrule = [] if self.fields["anyway"].widget.is_hidden else ["anyway"]
            fields = ["source", *overrule, "functions"]
            sections.append((gettext("Workflow source"), {"fields": fields}))
        sections.append(
            (gettext("The new execution"), {"fields": ["keep_keys", "name", "reason"]})
        )
        return sections

    def _add_call(self, call: Call, *, again: bool) -> None:
        number = call.call_id
        choices = [
            (AGAIN, _("Run it again")),
            (RESULT, _("Use another result")),
            (ERROR, _("Use an error")),
        ]
        if has_answer(call):
            choices.insert(0, (KEEP, _kept(call)))
        self.fields[f"answer_{number}"] = forms.ChoiceField(
            label=_("Answer"),
            choices=choices,
            initial=AGAIN if again or not has_answer(call) else KEEP,
            widget=AdminRadioSelect,
        )
        self.fields[f"result_{number}"] = JSONField(
            returns(call.function), label=_("Result"), required=False, initial=_initial(call)
        )
        self.fields[f"error_{number}"] = forms.CharField(
            label=_("Error message"), required=False, widget=AdminTextInputWidget
        )

    def _answers(self, cleaned: Mapping[str, Any]) -> Iterator[tuple[int, Answer | None]]:
        for call in self.calls:
            number = call.call_id
            choice = cleaned.get(f"answer_{number}")
            if choice != RESULT:
                self.errors.pop(f"result_{number}", None)
            if choice == AGAIN:
                yield number, None
            elif choice == ERROR:
                message = cleaned[f"error_{number}"]
                if not message:
                    self.add_error(f"error_{number}", _("An error message is missing."))
                yield number, Answer.of_error("RuntimeError", message)
            elif choice == RESULT and (answer := self._result(number, cleaned)):
                yield number, answer

    def _result(self, number: int, cleaned: Mapping[str, Any]) -> Answer | None:
        field = f"result_{number}"
        if field in self.errors:
            return None
        if not self.data.get(field, "").strip():
            self.add_error(field, _("A result is missing."))
            return None
        try:
            limit = conf.current().MAX_VALUE_BYTES
            return Answer(codec.encode(cleaned[field], path="result", max_bytes=limit))
        except UnstorableValue as exc:
            self.add_error(field, _("This cannot be stored: %(why)s") % {"why": exc})
            return None


def _kept(call: Call) -> Any:
    given = (
        readable(call.result)
        if call.result is not None
        else (f"{call.error_type}: {call.error_message}")
    )
    return format_html("{} <code>{}</code>", gettext("As it was:"), cut(given, _LONGEST))


def _initial(call: Call) -> str:
    return "" if call.result is None else editable(call.result)
