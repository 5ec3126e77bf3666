"""The page that starts a workflow written in the admin: it adds an execution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.widgets import AdminTextInputWidget
from django.db import router
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty import operations
from durable_monty.admin.pages import AddPage, PagesAdmin, key_of
from durable_monty.admin.source.form import FunctionsField, SourceField, SourceForm
from durable_monty.admin.values.typed_fields import JSONField
from durable_monty.exceptions import (
    DurableMontyError,
    InvalidInputs,
    KeyConflict,
    UnstorableValue,
)
from durable_monty.models import Execution
from durable_monty.operations.transactions import write
from durable_monty.text_limits import MAX_NAME


class StartForm(SourceForm):
    source = SourceField()
    functions = FunctionsField()
    inputs = JSONField(
        dict[str, Any],
        path="inputs",
        label=_("Inputs"),
        required=False,
        initial="{}",
    )
    name = forms.CharField(
        label=_("Name"),
        required=False,
        max_length=MAX_NAME,
        widget=AdminTextInputWidget,
        help_text=_(
            "Name of the workflow, the same for each run; used in filters and statistics."
        ),
    )
    label = forms.CharField(
        label=_("Label"),
        required=False,
        max_length=MAX_NAME,
        widget=AdminTextInputWidget,
        help_text=_("Tells this run from others of the same name."),
    )
    key = forms.CharField(
        label=_("Idempotency key"),
        required=False,
        max_length=MAX_NAME,
        widget=AdminTextInputWidget,
        help_text=_(
            "If an execution with this key exists, it is used instead of starting another."
        ),
    )

    def __init__(self, data: Any, functions: Iterable[str]) -> None:
        """`functions`: the names that the form offers."""
        super().__init__(data)
        self.fields["functions"] = FunctionsField(functions)
        self.fields["inputs"].help_text = _(
            'A JSON object, such as {"number": 1047}. Each key becomes a variable.'
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            cleaned["inputs"] = cleaned["inputs"] or {}
            self.check_source(cleaned["source"], cleaned["functions"], cleaned["inputs"])
        return cleaned

    def field_at_fault(self, exc: DurableMontyError) -> str | None:
        match exc:
            case UnstorableValue() | InvalidInputs():
                return "inputs"
            case KeyConflict():
                return "key"
            case _:
                return super().field_at_fault(exc)


class StartPage(AddPage):
    permission = "start_execution"

    def respond(self, model_admin: PagesAdmin, request: HttpRequest) -> HttpResponse:
        functions = operations.offered_to(request.user)
        form = StartForm(request.POST if request.method == "POST" else None, functions)
        if form.is_valid() and (execution := self.start(model_admin, request, form)) is not None:
            return HttpResponseRedirect(model_admin.url_of(execution))
        return model_admin.render_form(
            request,
            "execution/start.html",
            gettext("Start a workflow"),
            form,
            fieldsets=[
                (None, {"fields": [*form.source_fields(), "inputs"]}),
                (None, {"fields": ["name", "label", "key"]}),
            ],
            has_functions=bool(functions),
        )

    def start(
        self, model_admin: PagesAdmin, request: HttpRequest, form: StartForm
    ) -> Execution | None:
        """Starts the execution and writes its history. Errors are shown in the form."""
        given, using = form.cleaned_data, router.db_for_write(Execution)
        key = given["key"] or key_of(request)
        # Only for the history and the message: the operation decides by the key.
        is_known = Execution.objects.using(using).filter(key=key).exists()
        try:
            # The history has an entry exactly if there is an execution.
            with write(using):
                execution = operations.start_execution(
                    given["source"],
                    given["functions"],
                    given["inputs"],
                    key=key,
                    name=given["name"],
                    label=given["label"],
                    user=request.user,
                    # The form's own key means a second submit, even if its fields were edited.
                    on_conflict="raise" if given["key"] else "return",
                    using=using,
                )
                if not is_known:
                    model_admin.log_addition(request, execution, gettext("Started."))
        except DurableMontyError as exc:
            form.refuse(exc)
            return None
        if is_known:
            text = gettext("Nothing was changed: the execution was started already.")
            model_admin.message_user(request, text, messages.WARNING)
        else:
            text = format_html(gettext("{} was started."), model_admin.link_to(execution))
            model_admin.message_user(request, text, messages.SUCCESS)
        return execution
