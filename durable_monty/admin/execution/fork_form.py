"""The form that forks an execution: other answers for its open calls, and other source."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminRadioSelect, AdminTextInputWidget
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty import codec
from durable_monty.admin.formats import cut, editable, readable
from durable_monty.admin.pages import ReasonForm
from durable_monty.admin.source.form import (
    FunctionsField,
    SourceField,
    SourceForm,
    unix_lines,
)
from durable_monty.admin.values.call_signature import arguments, returns
from durable_monty.admin.values.typed_fields import JSONField, encode_result
from durable_monty.exceptions import DurableMontyError, HostFault, TurnNotForkable
from durable_monty.models import Call, Execution
from durable_monty.operations import Answer, Edits
from durable_monty.operations.copies import has_answer
from durable_monty.operations.sources import Code, edited_code
from durable_monty.text_limits import MAX_NAME

KEEP, AGAIN, RESULT, ERROR = "keep", "again", "result", "error"
_LONGEST = 300


class ForkForm(SourceForm, ReasonForm):
    name = forms.CharField(
        label=_("Name"), required=False, max_length=MAX_NAME, widget=AdminTextInputWidget
    )
    keep_keys = forms.BooleanField(
        label=_("Keep idempotency keys"),
        required=False,
        help_text=_(
            "Calls that are run again keep the key that they had, so that a service outside "
            "recognises the second try. Without this each gets a new key."
        ),
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
        """`calls`: the calls whose answers can be changed; `functions`: the names that edited
        source may call, None if the source may not be edited; `again`: the number of the call
        that is preset to run again."""
        super().__init__(data)
        self.execution, self.calls, self.may_edit = execution, calls, functions is not None
        self.fields["name"].initial = execution.name
        # A link from a call means a second try of that call, which needs its key.
        self.fields["keep_keys"].initial = bool(again)
        for call in calls:
            self.add_fields(call, again=again == str(call.call_id))
        if functions is not None:
            # The program keeps its functions, even if they are not offered any more.
            known = set(execution.program.functions.values())
            self.fields["source"] = SourceField(initial=execution.program.source)
            self.fields["functions"] = FunctionsField({*functions, *known}, initial=sorted(known))

    def add_fields(self, call: Call, *, again: bool) -> None:
        """Adds a choice of the call's answer, and the fields for another result or an error."""
        number, result = call.call_id, call.result
        choices: list[tuple[str, Any]] = [
            (AGAIN, _("Run it again")),
            (RESULT, _("Use another result")),
            (ERROR, _("Use an error")),
        ]
        if has_answer(call):
            error = f"{call.error_type}: {call.error_message}"
            given = cut(error if result is None else readable(result), _LONGEST)
            kept = format_html("{} <code>{}</code>", gettext("Keep it:"), given)
            choices.insert(0, (KEEP, kept))
        self.fields[f"answer_{number}"] = forms.ChoiceField(
            label=_("Answer"),
            choices=choices,
            initial=AGAIN if again or not has_answer(call) else KEEP,
            widget=AdminRadioSelect,
        )
        self.fields[f"result_{number}"] = JSONField(
            returns(call.function),
            label=_("Result"),
            required=False,
            initial="" if result is None else editable(result),
        )
        self.fields[f"error_{number}"] = forms.CharField(
            label=_("Error message"), required=False, widget=AdminTextInputWidget
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        answers = cleaned["answers"] = {}
        for number in (call.call_id for call in self.calls):
            choice = cleaned.get(f"answer_{number}")
            if choice != RESULT:
                # The page hides the field, and with it its error.
                self.errors.pop(f"result_{number}", None)
            if choice == AGAIN:
                answers[number] = None
            elif choice in (RESULT, ERROR) and (answer := self.answer(number, choice, cleaned)):
                answers[number] = answer
        if self.may_edit and self.is_edited(cleaned) and not self.errors:
            inputs = codec.decode(self.execution.inputs)
            self.check_source(cleaned["source"], cleaned["functions"], inputs)
        return cleaned

    def code_of(self, source: str, functions: Iterable[str]) -> Code:
        return edited_code(self.execution.program, source, functions)

    def answer(self, number: int, choice: str, cleaned: Mapping[str, Any]) -> Answer | None:
        """Returns the answer of a call that was typed; None, and an error, if it is missing."""
        field = f"{choice}_{number}"
        if field in self.errors:
            return None
        if not self.data.get(field, "").strip():
            self.add_error(field, forms.Field.default_error_messages["required"])
            return None
        if choice == ERROR:
            return Answer.of_error("RuntimeError", cleaned[field])
        encoded = encode_result(self, field, cleaned[field])
        return None if encoded is None else Answer(encoded)

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

    def field_at_fault(self, exc: DurableMontyError) -> str | None:
        field = super().field_at_fault(exc)
        if isinstance(exc, HostFault | TurnNotForkable):
            return None
        # The recorded source has run before: only an edited one can be at fault.
        is_edited = self.may_edit and self.is_edited(self.cleaned_data)
        return None if field == "source" and not is_edited else field

    def fieldsets(self) -> list[tuple[str, dict[str, Any]]]:
        sections: list[tuple[str, dict[str, Any]]] = []
        for call in self.calls:
            names = [f"{part}_{call.call_id}" for part in ("answer", "result", "error")]
            sections.append((str(call), {"fields": names, "description": arguments(call)}))
        if self.may_edit:
            sections.append((gettext("Workflow source"), {"fields": self.source_fields()}))
        fields = {"fields": ["keep_keys", "name", "reason"]}
        return [*sections, (gettext("The new execution"), fields)]
