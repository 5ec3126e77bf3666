"""The form with which a person answers a call."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminRadioSelect, AdminTextareaWidget
from django.db.models import TextChoices
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty import codec
from durable_monty.admin.pages import with_reason
from durable_monty.admin.values.call_signature import returns
from durable_monty.admin.values.typed_fields import (
    encode_result,
    field_of,
    fields_of_dataclass,
)
from durable_monty.functions import MANUAL_EXECUTOR
from durable_monty.models import Call
from durable_monty.operations import Answer
from durable_monty.text_limits import MAX_REASON


class Outcome(TextChoices):
    COMPLETE = "complete", _("Answer")
    FAIL = "fail", _("Fail this call")


class AnswerForm(forms.ModelForm):
    """An answer to an open call. The form writes nothing: an operation does."""

    outcome = forms.ChoiceField(
        label=_("Outcome"),
        choices=Outcome.choices,
        initial=Outcome.COMPLETE,
        widget=AdminRadioSelect,
    )
    error_message = forms.CharField(
        label=_("Error message"),
        required=False,
        widget=AdminTextareaWidget(attrs={"rows": 2}),
        help_text=_(
            "The workflow gets a RuntimeError with this message where it awaits the call."
        ),
    )
    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=MAX_REASON,
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
        # Whoever answers instead of a machine gives the reason.
        self.fields["reason"].required = self.instance.executor != MANUAL_EXECUTOR

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        names = self.result_fields
        if cleaned.get("outcome") == Outcome.FAIL:
            for name in names:
                # A result that is half typed does not matter when the call fails.
                self.errors.pop(name, None)
            if not cleaned.get("error_message"):
                self.add_error("error_message", forms.Field.default_error_messages["required"])
        elif not any(name in self.errors for name in names):
            value = cleaned.get("result")
            if names != ("result",):
                parts = {name.removeprefix("result_"): cleaned[name] for name in names}
                value = codec.record_of(self.result_type.__name__, parts)
            cleaned["encoded"] = encode_result(self, names[0], value, self.instance.function)
        return cleaned

    def answer(self) -> Answer:
        if self.cleaned_data["outcome"] == Outcome.FAIL:
            return Answer.of_error("RuntimeError", self.cleaned_data["error_message"])
        return Answer(result=self.cleaned_data["encoded"])

    def history_text(self) -> str:
        given = self.cleaned_data
        if given["outcome"] == Outcome.FAIL:
            text = gettext("Failed by hand: %(error)s") % {"error": given["error_message"]}
        else:
            text = gettext("Completed by hand.")
        return with_reason(text, given["reason"])

    def _post_clean(self) -> None:
        # Django would write the form into the instance, which only the operation changes.
        return


def form_for(function: str) -> type[AnswerForm]:
    """Returns the form for the type that the function returns, as far as it is known here."""
    annotation = returns(function)
    parts = fields_of_dataclass(annotation)
    fields = {f"result_{name}": field for name, field in parts.items()} or {
        "result": field_of(annotation, label=_("Result"))
    }
    # Django reads the fields of a form from its class, so that each type needs one.
    return type(
        "TypedAnswerForm",
        (AnswerForm,),
        {**fields, "result_type": annotation, "result_fields": tuple(fields)},
    )


def answer_fields(function: str) -> tuple[str, ...]:
    """Returns the names of the form's fields, in their order on the page."""
    return ("outcome", *form_for(function).result_fields, "error_message", "reason")
