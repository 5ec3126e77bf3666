from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty.admin.base import Facts, facts_of, id_range
from durable_monty.admin.call.answer import answer, record_answer, refuse_late_answer
from durable_monty.admin.call.answer_form import AnswerForm, answer_fields, form_for
from durable_monty.admin.call.columns import FILES, CallColumns
from durable_monty.admin.call.filters import (
    WAITING,
    CallAgeFilter,
    CallStatusFilter,
    ExecutionFilter,
    WaitingFilter,
    WorkflowFilter,
)
from durable_monty.admin.call.retry import RetryPage, retry
from durable_monty.admin.filters import FunctionFilter
from durable_monty.admin.pages import Button
from durable_monty.admin.values.call_signature import purpose, signature
from durable_monty.exceptions import CallNotFound, CallSettled, ExecutionNotFound
from durable_monty.kinds import kind_of
from durable_monty.models import Call, CallStatus, Execution, Program
from durable_monty.reads.fleet import read_fleet
from durable_monty.wording.calls import doing_text

_DETAILS = (
    "kind",
    "executor",
    "worker",
    "attempt",
    "job_id",
    "idempotency_key",
    "made_in",
    "delivered_in",
    "started",
    "due",
)
# Columns of the execution that can be large.
_HEAVY = ("inputs", "output", "error_message", "error_traceback", "log")


@admin.register(Call)
class CallAdmin(CallColumns):
    pages = [RetryPage(), FILES]
    actions = [answer, retry]
    action_permissions = {"answer": "complete_call", "retry": "retry_call"}
    list_display = ["__str__", "state", "waits_for", "asked", "of_execution"]
    list_filter = [
        WaitingFilter,
        CallStatusFilter,
        FunctionFilter,
        WorkflowFilter,
        CallAgeFilter,
        ExecutionFilter,
    ]
    list_select_related = ["execution", "worker"]
    list_defer = ["args", "kwargs", "result", "error_message", "error_traceback", "reason"]
    empty_text = _("None yet. Executions make calls while “manage.py runworker” runs.")
    search_fields = ["execution__id"]
    search_help_text = _(
        "A function, the start of an execution's id, or an idempotency key (id:number)."
    )
    change_form_template = "admin/durable_monty/call/change_form.html"

    class Media:
        css = {"all": ["durable_monty/source.css", "durable_monty/execution.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Call]:
        calls = super().get_queryset(request).select_related("execution", "worker")
        return calls.defer(*(f"execution__{name}" for name in _HEAVY), "worker__functions_json")

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        # The oldest of the calls that wait come first; an index has this order.
        waits = request.GET.get(WaitingFilter.parameter_name) in WAITING
        return ["created_at", "pk"] if waits else ["-pk"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        # Services outside log the idempotency key of a call, which is `id:number`.
        execution_id, _colon, number = search_term.strip().partition(":")
        if execution_id:
            ids = id_range(execution_id)
            wanted = {"execution__id__range": ids} if ids else {"function": execution_id}
            queryset = queryset.filter(**wanted)
        if number:
            queryset = queryset.filter(call_id=number) if number.isdecimal() else queryset.none()
        return queryset, False

    def read_facts(self, rows: Sequence[Call], using: str, now: datetime) -> Facts:
        return Facts(using, now, read_fleet(now, using))

    def has_change_permission(self, request: HttpRequest, obj: Call | None = None) -> bool:
        """Answering is the change."""
        may_answer = self.may(request, "complete_call")
        if obj is None or not may_answer:
            return may_answer
        # A form that was opened in time may come too late: the operation refuses it then, and no
        # permission is missing.
        return kind_of(obj).takes_answers and (obj.is_open or request.method == "POST")

    def get_buttons(self, request: HttpRequest, row: Call) -> list[Button]:
        buttons = super().get_buttons(request, row)
        may_fork = self.may_view(Execution, request) and self.may(request, "fork_execution")
        if may_fork and row.delivered_turn is not None and kind_of(row).takes_answers:
            # The fork begins before the turn that used the result.
            query = f"?turn={row.delivered_turn - 1}&again={row.call_id}"
            url = self.url_of(Execution(pk=row.execution_id), "fork") + query
            buttons.append(Button(gettext("Fork from here…"), url))
        return buttons

    def get_fieldsets(self, request: HttpRequest, obj: Call | None = None) -> Any:
        if obj is None:
            return []
        about = purpose(obj.function)
        named = ["signature"] if signature(obj.function) else []
        description = about and format_html('<div class="dm-purpose">{}</div>', about)
        fields = [*named, "arguments", "execution_link", "state", "asked"]
        sections: list[Any] = [(None, {"fields": fields, "description": description})]
        if self.has_change_permission(request, obj):
            sections.append((_("Your answer"), {"fields": answer_fields(obj.function)}))
        elif not obj.is_open:
            completed, failed = CallStatus.COMPLETED, CallStatus.FAILED
            fields = ["finished", "took"]
            fields += ["result_block"] if obj.status == completed else []
            fields += ["error_type", "error_message"] if obj.status == failed else []
            fields += ["raised_as"] if obj.raised_as else []
            fields += ["traceback_block"] if obj.error_traceback else []
            fields += [name for name in ("completed_by_name", "reason") if getattr(obj, name)]
            sections.append((_("Answer"), {"fields": fields}))
        called_from = ["called_from"] if self.may_view(Program, request) else []
        sections.append((_("Timeline"), {"fields": ["timeline", *called_from]}))
        # A call that is answered at its first attempt has no row of an attempt.
        if obj.failures or obj.losses or obj.attempt > 1:
            sections.append((_("Attempts"), {"fields": ["attempts"]}))
        return [*sections, (_("Details"), {"fields": _DETAILS, "classes": ["collapse"]})]

    def get_readonly_fields(self, request: HttpRequest, obj: Call | None = None) -> list[str]:
        editable = () if obj is None else answer_fields(obj.function)
        return [name for name in super().get_readonly_fields(request, obj) if name not in editable]

    def get_form(
        self, request: HttpRequest, obj: Call | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is not None and self.has_change_permission(request, obj):
            # Every field of the model is read-only: the answer has fields of its own.
            kwargs["form"] = form_for(obj.function)
        return super().get_form(request, obj, change, **kwargs)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        call: Call = context["original"]
        answerable = context["answerable"] = self.has_change_permission(request, call)
        context["title"] = gettext("Answer a call") if answerable else gettext("Call")
        if call.is_open:
            facts = facts_of(call)
            # The text ends a sentence, and a time may end in "p.m.".
            context["waits_for"] = doing_text(call, facts.fleet, facts.now).removesuffix(".")
        return super().render_change_form(request, context, *args, **kwargs)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method != "POST" or object_id is None:
            return super().changeform_view(request, object_id, form_url, extra_context)
        call = self.get_object(request, unquote(object_id))
        if call is None or call.is_open or not self.has_change_permission(request, call):
            try:
                return super().changeform_view(request, object_id, form_url, extra_context)
            except (CallSettled, CallNotFound, ExecutionNotFound):
                # Its transaction is rolled back by now: the history has no entry.
                call = self.get_object(request, unquote(object_id))
            if call is None:
                return super().changeform_view(request, object_id, form_url, extra_context)
        self.message_user(request, refuse_late_answer(call), messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: Call, form: AnswerForm, change: bool) -> None:
        record_answer(request, obj, form)

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        return form.history_text()

    def response_change(self, request: HttpRequest, obj: Call) -> HttpResponse:
        text = format_html(gettext("The answer to {} was recorded."), self.link_to(obj))
        self.message_user(request, text, messages.SUCCESS)
        # People who answer one call after another go back to the filtered list.
        if self.get_preserved_filters(request):
            return self.response_post_save_change(request, obj)
        return HttpResponseRedirect(request.get_full_path())
