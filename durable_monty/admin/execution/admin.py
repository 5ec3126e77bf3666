from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import Script
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from durable_monty.admin.base import Facts, id_range
from durable_monty.admin.execution.columns import FILES, ExecutionColumns, newest_forks
from durable_monty.admin.execution.export import EXPORT, export
from durable_monty.admin.execution.filters import (
    FAILED,
    AttentionFilter,
    AwaitedFunctionFilter,
    CreatedFilter,
    ErrorFilter,
)
from durable_monty.admin.execution.fork import ForkPage
from durable_monty.admin.execution.page import LivePage, page_context
from durable_monty.admin.execution.start import StartPage
from durable_monty.admin.execution.turns import TurnPage, TurnsPage
from durable_monty.admin.execution.verbs import VERBS
from durable_monty.admin.filters import NameFilter
from durable_monty.models import Call, Execution, ExecutionStatus, Program, Snapshot
from durable_monty.reads.fleet import read_fleet
from durable_monty.reads.lists import search_executions
from durable_monty.reads.open_calls import read_open_calls


@admin.register(Execution)
class ExecutionAdmin(ExecutionColumns):
    pages = [*VERBS, ForkPage(), EXPORT, LivePage(), TurnsPage(), TurnPage(), FILES]
    add_page = StartPage()
    actions = [*(verb.action for verb in VERBS), export]
    action_permissions = {
        **{verb.name: verb.permission for verb in VERBS},
        "export": EXPORT.permission,
    }
    list_display = ["named", "state", "waits_for", "created", "took"]
    list_display_links = ["named"]
    list_filter = [
        AttentionFilter,
        "status",
        NameFilter,
        ErrorFilter,
        AwaitedFunctionFilter,
        CreatedFilter,
    ]
    list_select_related = ["program", "version"]
    list_defer = [
        "inputs",
        "output",
        "error_traceback",
        "log",
        "program__source",
        "program__functions_json",
    ]
    empty_text = _("None yet. OrchestratorService().start_execution(…) starts one.")
    search_fields = ["id"]
    search_help_text = _("Exact name, key or error type, or the start of an id.")
    change_form_template = "admin/durable_monty/execution/change_form.html"

    class Media:
        css = {"all": ["durable_monty/source.css", "durable_monty/execution.css"]}
        js = [Script("durable_monty/execution.js", defer=True)]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Execution]:
        return super().get_queryset(request).select_related("program", "version", "worker")

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        # These filters find some executions among all, by ids, which are then sorted. In the
        # order of the key, the planner may walk along it through all the others.
        if request.GET.get(AttentionFilter.parameter_name) == FAILED:
            return ["-finished_at", "-pk"]  # an index has this order
        found = {AttentionFilter.parameter_name, AwaitedFunctionFilter.parameter_name}
        return ["-created_at", "-pk"] if found & request.GET.keys() else ["-pk"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if term:
            queryset = search_executions(queryset, term, id_range(term))
        return queryset, False

    def read_facts(self, rows: Sequence[Execution], using: str, now: datetime) -> Facts:
        # One query for the whole list, although each row names the calls that it waits for.
        waiting = [row.pk for row in rows if row.status == ExecutionStatus.WAITING]
        return Facts(using, now, read_fleet(now, using), read_open_calls(waiting, using))

    def get_fieldsets(self, request: HttpRequest, obj: Execution | None = None) -> Any:
        if obj is None:
            return []
        overview = ["workflow"] if obj.version_id is not None else []
        overview += ["label"] if obj.label else []
        overview += ["state", "took", "created", "started", "finished", "id"]
        overview += [name for name in ("key", "reason") if getattr(obj, name)]
        overview += ["origin"] if obj.forked_from_id is not None else []
        if obj.handled_at is not None:
            overview.append("resolution" if obj.retried_by_id is None else "retry")
        overview += ["forks"] if newest_forks(obj) else []
        data = ["inputs_block"]
        data += ["output_block"] if obj.status == ExecutionStatus.COMPLETED else []
        data += ["log_block"] if obj.log else []
        engine = ["turn", "call_count", "wakeups", "faults", "due", "worker", "seed"]
        engine += ["snapshot_facts"] if self.may_view(Snapshot, request) else []
        engine += ["program_link"] if self.may_view(Program, request) else []
        error = self._error_fields(request, obj)
        return [
            (None, {"fields": overview}),
            *([(_("Error"), {"fields": error})] if error else []),
            (_("Values"), {"fields": data}),
            (_("Engine"), {"fields": engine, "classes": ["collapse"]}),
        ]

    def _error_fields(self, request: HttpRequest, execution: Execution) -> list[str]:
        # The error's type and message stand in the sentence.
        fields = ["traceback_block"] if execution.error_traceback else []
        if execution.status == ExecutionStatus.FAILED and self.may_view(Call, request):
            fields.append("function_tracebacks")
        return fields

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        execution: Execution = context["original"]
        context |= page_context(self, request, execution)
        context["fields_before_calls"] = 2 if self._error_fields(request, execution) else 1
        return super().render_change_form(request, context, *args, **kwargs)
