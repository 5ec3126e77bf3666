"""Starting a workflow that is written in the admin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import PermissionDenied
from django.db import router
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty import operations
from durable_monty.admin.pages import TOKEN, PagesAdmin, admin_form, key_of, new_token
from durable_monty.admin.source.form import FunctionsField, SourceField, SourceForm
from durable_monty.admin.values.typed_fields import JSONField
from durable_monty.exceptions import (
    DurableMontyError,
    FunctionError,
    InvalidInputs,
    KeyConflict,
    UnstorableValue,
)
from durable_monty.models import Execution
from durable_monty.operations.transactions import write


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
        max_length=200,
        widget=AdminTextInputWidget,
        help_text=_("Of the workflow: lists are filtered by it."),
    )
    key = forms.CharField(
        label=_("Idempotency key"),
        required=False,
        max_length=200,
        widget=AdminTextInputWidget,
        help_text=_("Starting again with the same key gives the same execution."),
    )

    def __init__(self, data: Any, functions: Iterable[str]) -> None:
        """`functions`: those that it offers."""
        super().__init__(data)
        self.fields["functions"] = FunctionsField(functions)
        self.fields["inputs"].help_text = _('Its global variables, as JSON: {"number": 1047}')

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            cleaned["inputs"] = cleaned["inputs"] or {}
            self.check_source(cleaned["source"], cleaned["functions"], cleaned["inputs"])
        return cleaned


class StartPage(PagesAdmin):
    """A mixin of the admin of executions: adding one is starting one."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return self.may(request, "start_execution")

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        functions = operations.offered_to(request.user)
        form = StartForm(request.POST if request.method == "POST" else None, functions)
        if form.is_valid() and (execution := self._start(request, form)) is not None:
            return HttpResponseRedirect(self.url_of(execution))
        last = ["anyway"] if not form.fields["anyway"].widget.is_hidden else []
        fieldsets = [
            (None, {"fields": ["source", *last, "functions", "inputs"]}),
            (None, {"fields": ["name", "key"]}),
        ]
        return self.render_page(
            request,
            "execution/start.html",
            gettext("Start a workflow"),
            adminform=admin_form(form, fieldsets),
            has_functions=bool(functions),
            token_name=TOKEN,
            token=request.POST.get(TOKEN) or new_token(),
        )

    def _start(self, request: HttpRequest, form: StartForm) -> Execution | None:
        given, using = form.cleaned_data, router.db_for_write(Execution)
        key = given["key"] or key_of(request.POST.get(TOKEN, ""))
        is_known = Execution.objects.using(using).filter(key=key).exists()
        try:
            with write(using):
                execution = operations.start_execution(
                    given["source"],
                    given["functions"],
                    given["inputs"],
                    key=key,
                    name=given["name"],
                    user=request.user,
                    # The key of the form itself says that it was sent already, whatever it says.
                    on_conflict="raise" if given["key"] else "return",
                    using=using,
                )
                if not is_known:
                    self.log_addition(request, execution, gettext("Started."))
        except DurableMontyError as exc:
            form.refuse(exc, _field_of(exc))
            return None
        if is_known:
            text = gettext("Nothing was changed: it was started already.")
            self.message_user(request, text, messages.WARNING)
        else:
            text = format_html(gettext("{} was started."), self.link_to(execution))
            self.message_user(request, text, messages.SUCCESS)
        return execution


def _field_of(exc: DurableMontyError) -> str:
    match exc:
        case UnstorableValue() | InvalidInputs():
            return "inputs"
        case KeyConflict():
            return "key"
        case FunctionError():
            return "functions"
        case _:
            return "source"
