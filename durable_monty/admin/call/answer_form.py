"""The form with which a person answers a call."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminRadioSelect, AdminTextareaWidget
from django.db.models import TextChoices
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty import codec, conf
from durable_monty.admin.pages import with_reason
from durable_monty.admin.values.call_signature import returns
from durable_monty.admin.values.typed_fields import field_of, parts_of
from durable_monty.exceptions import UnstorableValue
from durable_monty.kinds import PERSON, kind_of
from durable_monty.models import Call
from durable_monty.operations import Answer


class Outcome(TextChoices):
    COMPLETE = "complete", _("Give a result")
    FAIL = "fail", _("Raise an error")


class AnswerForm(forms.ModelForm):
    """An answer to an open call. It writes nothing itself: the operation does."""

    outcome = forms.ChoiceField(
        label=_("Answer"),
        choices=Outcome.choices,
        initial=Outcome.COMPLETE,
        widget=AdminRadioSelect,
    )
    error_message = forms.CharField(
        label=_("Error message"),
        required=False,
        widget=AdminTextareaWidget(attrs={"rows": 2}),
        help_text=_("The workflow gets it as a RuntimeError, where it awaits the call."),
    )
    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=2_000,
        widget=AdminTextareaWidget(attrs={"rows": 2}),
        help_text=_("For the history; the workflow does not see it."),
    )

    result_type: Any = None
    result_fields: tuple[str, ...] = ("result",)

    class Meta:
        model = Call
        fields = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Who answers in the place of a machine says why.
        self.fields["reason"].required = kind_of(self.instance) is not PERSON

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("outcome") == Outcome.FAIL:
            for name in self.result_fields:
                self.errors.pop(name, None)
            if not cleaned.get("error_message"):
                self.add_error("error_message", _("An error message is missing."))
        elif not any(name in self.errors for name in self.result_fields):
            self._encode(cleaned)
        return cleaned

    def answer(self) -> Answer:
        if self.cleaned_data["outcome"] == Outcome.FAIL:
            return Answer.of_error("RuntimeError", self.cleaned_data["error_message"])
        return Answer(result=self.cleaned_data["encoded"])

    def told(self) -> str:
        """For the history."""
        given = self.cleaned_data
        if given["outcome"] == Outcome.FAIL:
            text = gettext("Failed by hand: %(error)s") % {"error": given["error_message"]}
        else:
            text = gettext("Completed by hand.")
        return with_reason(text, given["reason"])

    def _encode(self, cleaned: dict[str, Any]) -> None:
        if self.result_fields == ("result",):
            value = cleaned["result"]
        else:
            parts = {name.removeprefix("result_"): cleaned[name] for name in self.result_fields}
            value = codec.Record(self.result_type.__name__, parts)
        try:
            limit = conf.current().MAX_VALUE_BYTES
            cleaned["encoded"] = codec.encode(value, path="result", max_bytes=limit)
        except UnstorableValue as exc:
            text = _("This cannot be stored: %(why)s") % {"why": exc}
            self.add_error(self.result_fields[0], text)

    def _post_clean(self) -> None:
        """The instance stays as it was read."""


def form_for(function: str) -> type[AnswerForm]:
    """The form for the type that the function returns, as far as it is known here."""
    annotation = returns(function)
    parts = parts_of(annotation)
    fields = {f"result_{name}": field for name, field in parts.items()} or {
        "result": field_of(annotation, label=_("Result"))
    }
    for field in fields.values():
        field.error_messages["required"] = _("A result is missing.")
    return type(
        "TypedAnswerForm",
        (AnswerForm,),
        {**fields, "result_type": annotation, "result_fields": tuple(fields)},
    )


def answer_fields(function: str) -> tuple[str, ...]:
    """In their order on the page."""
    return ("outcome", *form_for(function).result_fields, "error_message", "reason")
