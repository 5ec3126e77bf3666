"""Columns of the list of executions, and fields of their page."""

from __future__ import annotations

from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty.admin.base import facts_of, time_column
from durable_monty.admin.downloads import Downloads
from durable_monty.admin.formats import (
    LONG,
    block,
    cut,
    json_block,
    moment,
    name_and_id,
    state_of,
)
from durable_monty.admin.pages import PagesAdmin
from durable_monty.models import Execution, ExecutionStatus, Snapshot
from durable_monty.reads.timeline import find_last_failures
from durable_monty.wording.executions import awaited_text
from durable_monty.wording.times import span

# Characters of an error that the list shows.
_MESSAGE = 120
# The page names this many forks of an execution, the newest.
_FORKS = 20

FILES = Downloads(
    {
        "inputs.json": lambda row: row.inputs,
        "output.json": lambda row: row.output,
        "log.txt": lambda row: row.log,
    }
)


class ExecutionColumns(PagesAdmin):
    created = time_column("created_at", _("created"))
    started = time_column("started_at", _("started"))
    finished = time_column("finished_at", _("finished"))
    due = time_column("due_at", _("due"))
    inputs_block = FILES.column("inputs.json", _("inputs"), lambda row: json_block(row.inputs))
    output_block = FILES.column("output.json", _("output"), lambda row: json_block(row.output))
    log_block = FILES.column("log.txt", _("log"), lambda row: block(row.log, LONG), LONG)

    @admin.display(description=_("name and id"))
    def named(self, execution: Execution) -> SafeString:
        name = execution.name
        if execution.version_number is not None:
            name = gettext("%(name)s v%(version)d") % {
                "name": name,
                "version": execution.version_number,
            }
        label = format_html('<span class="dm-id dm-quiet">{}</span>', execution.label)
        return format_html("{}{}", name_and_id(execution, name), label if execution.label else "")

    @admin.display(description=_("workflow"))
    def workflow(self, execution: Execution) -> str:
        return gettext("%(name)s, version %(version)d") % {
            "name": execution.name,
            "version": execution.version_number or 0,
        }

    @admin.display(description=_("status"))
    def state(self, execution: Execution) -> SafeString:
        return state_of(execution)

    @admin.display(description=_("waits for, or error"))
    def waits_for(self, execution: Execution) -> str:
        if execution.status == ExecutionStatus.FAILED:
            return cut(f"{execution.error_type}: {execution.error_message}", _MESSAGE)
        facts = facts_of(execution)
        calls = facts.open_calls.get(execution.pk, ())
        return awaited_text(execution, calls, facts.fleet, facts.now) or "-"

    @admin.display(description=_("duration"))
    def took(self, execution: Execution) -> str:
        end = execution.finished_at or facts_of(execution).now
        return span(end - execution.created_at)

    @admin.display(description=_("program"))
    def program_link(self, execution: Execution) -> SafeString:
        return self.link_to(execution.program)

    @admin.display(description=_("traceback"))
    def traceback_block(self, execution: Execution) -> SafeString:
        return block(execution.error_traceback)

    @admin.display(description=_("traceback of the function"))
    def function_tracebacks(self, execution: Execution) -> SafeString | str:
        calls = find_last_failures(execution, facts_of(execution).using)
        return format_html_join(
            "",
            '<p class="dm-caption">{}</p>{}',
            ((self.link_to(call), block(call.error_traceback)) for call in calls),
        ) or gettext("None: the workflow itself raised this error.")

    @admin.display(description=_("forked from"))
    def origin(self, execution: Execution) -> SafeString:
        # Its id is enough for the link and the text: the row is not read.
        origin = Execution(pk=execution.forked_from_id)
        text = gettext("%(origin)s, after turn %(turn)d") % {
            "origin": origin.short_id,
            "turn": execution.forked_turn,
        }
        return self.link_to(origin, text)

    @admin.display(description=_("retried"))
    def retry(self, execution: Execution) -> SafeString:
        retry = execution.retried_by
        assert retry is not None  # noqa: S101  (shown only then)
        return format_html(
            gettext("{} as {}"),
            moment(execution.handled_at, facts_of(execution).now),
            format_html("{} {}", self.link_to(retry), state_of(retry)),
        )

    @admin.display(description=_("forks"))
    def forks(self, execution: Execution) -> SafeString:
        newest = newest_forks(execution)
        return format_html_join(", ", "{}", ((self.link_to(fork),) for fork in newest))

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


def newest_forks(execution: Execution) -> list[Execution]:
    # Read once: the page asks whether there are any before it shows them.
    found: list[Execution] | None = vars(execution).get("durable_forks")
    if found is None:
        newest = Execution.objects.using(facts_of(execution).using).filter(forked_from=execution)
        found = list(newest.order_by("-pk").only("name")[:_FORKS])
        vars(execution)["durable_forks"] = found
    return found
