"""The form with which a person answers a call."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminRadioSelect, AdminTextareaWidget
from django.core.exceptions import ValidationError
from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from durable_monty import codec, conf
from durable_monty.admin.asked import returns
from durable_monty.exceptions import CorruptValue, UnstorableValue
from durable_monty.functions import MANUAL_EXECUTOR
from durable_monty.models import Call
from durable_monty.operations import Answer


class Outcome(TextChoices):
    COMPLETE = "complete", _("Give a result")
    FAIL = "fail", _("Raise an error")


class ResultField(forms.CharField):
    """JSON as people type it, tags of the codec allowed; cleaned, it is the codec's text."""

    def __init__(self) -> None:
        super().__init__(
            label=_("Result"),
            required=False,
            widget=AdminTextareaWidget(attrs={"rows": 4, "spellcheck": "false"}),
            help_text=_(
                "JSON: a text stands in double quotes, nothing is null. It is what the call "
                "gives the workflow."
            ),
        )

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        if not text:
            return ""
        limit = conf.current().MAX_VALUE_BYTES
        try:
            return codec.encode(codec.decode(text), path="result", max_bytes=limit)
        except CorruptValue as exc:
            raise ValidationError(
                _("This is not JSON: %(why)s"), code="json", params={"why": _cause(exc)}
            ) from exc
        except UnstorableValue as exc:
            raise ValidationError(
                _("This cannot be stored: %(why)s"), code="unstorable", params={"why": exc}
            ) from exc


class AnswerForm(forms.ModelForm):
    """An answer to an open call. It writes nothing itself: the operation does."""

    outcome = forms.ChoiceField(
        label=_("Answer"),
        choices=Outcome.choices,
        initial=Outcome.COMPLETE,
        widget=AdminRadioSelect,
    )
    result: forms.Field = ResultField()
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

    class Meta:
        model = Call
        fields = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Who answers in the place of a machine says why.
        self.fields["reason"].required = self.instance.executor != MANUAL_EXECUTOR

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        outcome = cleaned.get("outcome")
        if outcome == Outcome.COMPLETE and cleaned.get("result") == "":
            self.add_error("result", _("A result is missing."))
        if outcome == Outcome.FAIL and not cleaned.get("error_message"):
            self.add_error("error_message", _("An error message is missing."))
        return cleaned

    def answer(self) -> Answer:
        if self.cleaned_data["outcome"] == Outcome.FAIL:
            return Answer.of_error("RuntimeError", self.cleaned_data["error_message"])
        return Answer(result=self.cleaned_data["result"])

    def _post_clean(self) -> None:
        """The instance stays as it was read."""


class YesNoForm(AnswerForm):
    """For functions that return a bool. No default: nobody shall refuse by accident."""

    result = forms.ChoiceField(
        label=_("Result"),
        required=False,
        choices=[("true", _("Yes")), ("false", _("No"))],
        widget=AdminRadioSelect,
    )


def form_for(call: Call) -> type[AnswerForm]:
    return YesNoForm if returns(call.function) in (bool, "bool") else AnswerForm


def _cause(exc: CorruptValue) -> str:
    return str(exc.__cause__ or exc)
