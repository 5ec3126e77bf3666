from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty.admin.base import Page, id_range, page_of
from durable_monty.admin.call.actions import CallActions, answer, retry
from durable_monty.admin.call.answer_form import answer_fields
from durable_monty.admin.call.answering import Answering
from durable_monty.admin.call.attempts import attempts_table, has_attempts
from durable_monty.admin.call.filters import AgeFilter, WorkflowFilter
from durable_monty.admin.call.page import CallPageMixin
from durable_monty.admin.downloads import Downloads
from durable_monty.admin.filters import (
    WAITING,
    CallStatusFilter,
    ExecutionFilter,
    FunctionFilter,
    WaitingFilter,
)
from durable_monty.admin.formats import badge, block, json_block, moment, name_and_id
from durable_monty.admin.values.call_signature import arguments, purpose, signature
from durable_monty.models import Call, CallStatus
from durable_monty.reads.fleet import read_fleet
from durable_monty.wording.calls import doing_text, waits_for
from durable_monty.wording.times import span

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
_PURPOSE = '<div class="dm-purpose">{}</div>'
# Columns of the execution that can be large.
_HEAVY = ("inputs", "output", "error_message", "error_traceback", "log")


@admin.register(Call)
class CallAdmin(CallPageMixin, Answering, CallActions, Downloads):
    class Media:
        """Those of all its bases."""

    list_display = ["named", "state", "waits_for", "asked", "of_execution"]
    list_display_links = ["named"]
    actions = [answer, retry]
    list_filter = [
        WaitingFilter,
        CallStatusFilter,
        FunctionFilter,
        WorkflowFilter,
        AgeFilter,
        ExecutionFilter,
    ]
    list_select_related = ["execution", "worker"]
    list_defer = ["args", "kwargs", "result", "error_message", "error_traceback", "reason"]
    empty_text = _("None yet. Executions make calls while “manage.py runworker” runs.")
    search_fields = ["execution__id"]
    search_help_text = _(
        "A function, the beginning of an execution's id, or an idempotency key (id:number)."
    )
    change_form_template = "admin/durable_monty/call/change_form.html"
    readonly_fields = [
        "state",
        "waits_for",
        "execution_link",
        "signature",
        "arguments",
        "result_block",
        "traceback_block",
        "asked",
        "attempts",
        "started",
        "finished",
        "took",
        "due",
    ]

    downloads = {
        "arguments.json": lambda call: f'{{"args": {call.args}, "kwargs": {call.kwargs}}}',
        "result.json": lambda call: call.result,
        "traceback.txt": lambda call: call.error_traceback,
    }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Call]:
        calls = super().get_queryset(request).select_related("execution", "worker")
        return calls.defer(*(f"execution__{name}" for name in _HEAVY), "worker__functions_json")

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        # Who has waited longest comes first; an index has this order.
        waits = request.GET.get("waiting") in WAITING
        return ["created_at", "pk"] if waits else ["-pk"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        execution_id, _colon, number = search_term.strip().partition(":")
        if execution_id:
            ids = id_range(execution_id)
            wanted = {"execution__id__range": ids} if ids else {"function": execution_id}
            queryset = queryset.filter(**wanted)
        if number:
            queryset = queryset.filter(call_id=number) if number.isdecimal() else queryset.none()
        return queryset, False

    def read_page(self, rows: Sequence[Call], using: str, now: datetime) -> Page:
        return Page(using, now, read_fleet(now, using))

    def get_fieldsets(self, request: HttpRequest, obj: Call | None = None) -> Any:
        if obj is None:
            return []
        about = purpose(obj.function)
        asked = ["signature"] if signature(obj.function) else []
        return [
            (
                None,
                {
                    "fields": [*asked, "arguments", "execution_link", "state", "asked"],
                    "description": about and format_html(_PURPOSE, about),
                },
            ),
            *self._answer_sections(request, obj),
            (_("What it did"), {"fields": self.what_it_did(request)}),
            *([(_("Attempts"), {"fields": ["attempts"]})] if has_attempts(obj) else []),
            (_("Details"), {"fields": _DETAILS, "classes": ["collapse"]}),
        ]

    def _answer_sections(self, request: HttpRequest, call: Call) -> list[Any]:
        if self.has_change_permission(request, call):
            return [(_("Your answer"), {"fields": answer_fields(call.function)})]
        if call.is_open:
            return []
        fields = ["finished", "took"]
        if call.status == CallStatus.COMPLETED:
            fields.append("result_block")
        if call.status == CallStatus.FAILED:
            fields += ["error_type", "error_message"]
        if call.raised_as:
            fields.append("raised_as")
        if call.error_traceback:
            fields.append("traceback_block")
        if call.completed_by_name:
            fields.append("completed_by_name")
        if call.reason:
            fields.append("reason")
        return [(_("Answer"), {"fields": fields})]

    def get_readonly_fields(self, request: HttpRequest, obj: Call | None = None) -> list[str]:
        shown = flatten_fieldsets(self.get_fieldsets(request, obj))
        asked = () if obj is None else answer_fields(obj.function)
        return [name for name in shown if name not in asked]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        call: Call = context["original"]
        context["answerable"] = self.has_change_permission(request, call)
        context["title"] = gettext("Answer a call") if context["answerable"] else gettext("Call")
        if call.is_open:
            # A sentence ends with it, and a time may end in "p.m.".
            page = page_of(call)
            context["waits_for"] = doing_text(call, page.fleet, page.now).removesuffix(".")
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("call"))
    def named(self, call: Call) -> str:
        return str(call)

    @admin.display(description=_("status"))
    def state(self, call: Call) -> SafeString:
        return badge(call.status, call.get_status_display())

    @admin.display(description=_("waits for"))
    def waits_for(self, call: Call) -> str:
        return waits_for(call, page_of(call).fleet, page_of(call).now) if call.is_open else "-"

    @admin.display(description=_("execution"))
    def of_execution(self, call: Call) -> SafeString:
        return self.link_to(call.execution, name_and_id(call.execution))

    @admin.display(description=_("execution"))
    def execution_link(self, call: Call) -> SafeString:
        return self.link_to(call.execution)

    @admin.display(description=_("function"))
    def signature(self, call: Call) -> SafeString:
        return format_html("<code>{}</code>", signature(call.function))

    @admin.display(description=_("arguments"))
    def arguments(self, call: Call) -> SafeString | str:
        return self.with_download(call, "arguments.json", arguments(call))

    @admin.display(description=_("result"))
    def result_block(self, call: Call) -> SafeString | str:
        return self.with_download(call, "result.json", json_block(call.result))

    @admin.display(description=_("traceback"))
    def traceback_block(self, call: Call) -> SafeString | str:
        return self.with_download(call, "traceback.txt", block(call.error_traceback))

    @admin.display(description=_("asked"))
    def asked(self, call: Call) -> SafeString | str:
        return moment(call.created_at, page_of(call).now)

    @admin.display(description=_("started"))
    def started(self, call: Call) -> SafeString | str:
        return moment(call.started_at, page_of(call).now)

    @admin.display(description=_("answered"))
    def finished(self, call: Call) -> SafeString | str:
        return moment(call.finished_at, page_of(call).now)

    @admin.display(description=_("attempts that gave no answer"))
    def attempts(self, call: Call) -> SafeString:
        return attempts_table(call, page_of(call).now)

    @admin.display(description=_("due"))
    def due(self, call: Call) -> SafeString | str:
        return moment(call.due_at, page_of(call).now)

    @admin.display(description=_("took"))
    def took(self, call: Call) -> str:
        return "-" if call.finished_at is None else span(call.finished_at - call.created_at)
