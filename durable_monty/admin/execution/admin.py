from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty.admin.base import Page, id_range, page_of
from durable_monty.admin.downloads import Downloads
from durable_monty.admin.execution.actions import ACTIONS
from durable_monty.admin.execution.export import ExportPage, export
from durable_monty.admin.execution.fork import ForkPage
from durable_monty.admin.execution.page import ExecutionPageMixin
from durable_monty.admin.execution.start import StartPage
from durable_monty.admin.filters import (
    FAILED,
    AttentionFilter,
    AwaitedFunctionFilter,
    CreatedFilter,
    ErrorFilter,
    NameFilter,
)
from durable_monty.admin.formats import LONG, block, cut, json_block, moment, name_and_id, state_of
from durable_monty.models import Execution, ExecutionStatus, Program, Snapshot
from durable_monty.reads.fleet import read_fleet
from durable_monty.reads.lists import search_executions
from durable_monty.reads.open_calls import read_open_calls
from durable_monty.wording.executions import awaited_text
from durable_monty.wording.times import span

# Characters of an error that the list shows.
_MESSAGE = 120


@admin.register(Execution)
class ExecutionAdmin(ExecutionPageMixin, ExportPage, ForkPage, StartPage, Downloads):
    class Media:
        """Those of all its bases."""

    list_display = ["named", "state", "waits_for", "created", "took"]
    list_display_links = ["named"]
    actions = [*ACTIONS, export]
    list_filter = [
        AttentionFilter,
        "status",
        NameFilter,
        ErrorFilter,
        AwaitedFunctionFilter,
        CreatedFilter,
    ]
    list_select_related = ["program"]
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
    search_help_text = _("The whole name, key or error type, or the beginning of an id.")
    change_form_template = "admin/durable_monty/execution/change_form.html"
    readonly_fields = [
        "id",
        "state",
        "created",
        "started",
        "finished",
        "took",
        "program_link",
        "inputs_block",
        "output_block",
        "traceback_block",
        "log_block",
        "origin",
        "retry",
        "forks",
        "function_tracebacks",
        "snapshot_facts",
        "due",
    ]

    downloads = {
        "inputs.json": lambda row: row.inputs,
        "output.json": lambda row: row.output,
        "log.txt": lambda row: row.log,
    }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Execution]:
        return super().get_queryset(request).select_related("program", "worker")

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        # These find some executions among all, by ids: they are sorted. In the order of the key,
        # the planner may walk along it through all the others.
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

    def read_page(self, rows: Sequence[Execution], using: str, now: datetime) -> Page:
        waiting = [row.pk for row in rows if row.status == ExecutionStatus.WAITING]
        return Page(using, now, read_fleet(now, using), read_open_calls(waiting, using))

    def get_fieldsets(self, request: HttpRequest, obj: Execution | None = None) -> Any:
        if obj is None:
            return []
        overview: list[Any] = ["state", "took", "created", "started", "finished", "id"]
        overview += [name for name in ("key", "reason") if getattr(obj, name)]
        overview += self.lineage(obj)
        sections: list[Any] = [(None, {"fields": overview})]
        if error := self.error_fields(request, obj):
            sections.append((_("Error"), {"fields": error}))
        data = ["inputs_block"]
        if obj.status == ExecutionStatus.COMPLETED:
            data.append("output_block")
        if obj.log:
            data.append("log_block")
        engine = ["turn", "call_count", "wakeups", "faults", "due", "worker", "seed"]
        if self.may_view(Snapshot, request):
            engine.append("snapshot_facts")
        if self.may_view(Program, request):
            engine.append("program_link")
        sections += [
            (_("Values"), {"fields": data}),
            (_("Engine"), {"fields": engine, "classes": ["collapse"]}),
        ]
        return sections

    @admin.display(description=_("name and id"))
    def named(self, execution: Execution) -> SafeString:
        return name_and_id(execution)

    @admin.display(description=_("status"))
    def state(self, execution: Execution) -> SafeString:
        return state_of(execution)

    @admin.display(description=_("waits for, or error"))
    def waits_for(self, execution: Execution) -> str:
        page = page_of(execution)
        if execution.status == ExecutionStatus.FAILED:
            return cut(f"{execution.error_type}: {execution.error_message}", _MESSAGE)
        calls = page.open_calls.get(execution.pk, ())
        return awaited_text(execution, calls, page.fleet, page.now) or "-"

    @admin.display(description=_("created"))
    def created(self, execution: Execution) -> SafeString | str:
        return moment(execution.created_at, page_of(execution).now)

    @admin.display(description=_("started"))
    def started(self, execution: Execution) -> SafeString | str:
        return moment(execution.started_at, page_of(execution).now)

    @admin.display(description=_("finished"))
    def finished(self, execution: Execution) -> SafeString | str:
        return moment(execution.finished_at, page_of(execution).now)

    @admin.display(description=_("due"))
    def due(self, execution: Execution) -> SafeString | str:
        return moment(execution.due_at, page_of(execution).now)

    @admin.display(description=_("duration"))
    def took(self, execution: Execution) -> str:
        end = execution.finished_at or page_of(execution).now
        return span(end - execution.created_at)

    @admin.display(description=_("stored as"))
    def program_link(self, execution: Execution) -> SafeString:
        return self.link_to(execution.program)

    @admin.display(description=_("inputs"))
    def inputs_block(self, execution: Execution) -> SafeString | str:
        return self.with_download(execution, "inputs.json", json_block(execution.inputs))

    @admin.display(description=_("output"))
    def output_block(self, execution: Execution) -> SafeString | str:
        return self.with_download(execution, "output.json", json_block(execution.output))

    @admin.display(description=_("traceback"))
    def traceback_block(self, execution: Execution) -> SafeString:
        return block(execution.error_traceback)

    @admin.display(description=_("log"))
    def log_block(self, execution: Execution) -> SafeString | str:
        return self.with_download(execution, "log.txt", block(execution.log, LONG), LONG)

    @admin.display(description=_("snapshot"))
    def snapshot_facts(self, execution: Execution) -> SafeString | str:
        snapshot = Snapshot.objects.filter(pk=execution.pk).defer("data").first()
        if snapshot is None:
            return gettext("none")
        text = gettext("after turn %(turn)d, %(size)s") % {
            "turn": snapshot.turn,
            "size": filesizeformat(snapshot.size),
        }
        return self.link_to(snapshot, text)
