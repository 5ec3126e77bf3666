from __future__ import annotations

import json

from django.contrib import admin, messages
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy as _, ngettext

from durable_monty import operations
from durable_monty.admin.base import facts_of, time_column
from durable_monty.admin.filters import ValueFilter
from durable_monty.admin.formats import badge
from durable_monty.admin.pages import PagesAdmin
from durable_monty.models import WorkerProcess
from durable_monty.models.clock import database_now
from durable_monty.operations.transactions import write
from durable_monty.reads.occupied import OccupiedThreads


class AliveFilter(ValueFilter):
    title = _("state")
    parameter_name = "state"
    options = [("alive", _("Alive")), ("gone", _("Stopped or not responding"))]

    def find(self, rows: QuerySet[WorkerProcess], value: str) -> QuerySet[WorkerProcess]:
        alive = WorkerProcess.objects.alive(database_now(rows.db))
        return rows.filter(pk__in=alive) if value == "alive" else rows.exclude(pk__in=alive)


@admin.register(WorkerProcess)
class WorkerProcessAdmin(PagesAdmin):
    actions = ["dismiss"]
    action_permissions = {"dismiss": "dismiss_workerprocess"}
    list_display = ["__str__", "state", "heartbeat", "executor", "version", "started"]
    list_defer = ["functions_json"]
    list_filter = [AliveFilter]
    ordering = ["-pk"]
    empty_text = _("None yet. Start one with “manage.py runworker”.")
    search_fields = ["host__startswith"]
    search_help_text = _("The start of a host's name.")
    fields = [
        "state",
        "host",
        "pid",
        "executor",
        "functions",
        "stuck",
        "version",
        "sandbox_version",
        "heartbeat",
        "started",
        "stopped",
    ]

    heartbeat = time_column("heartbeat_at", _("last heartbeat"))
    started = time_column("started_at", _("started"))
    stopped = time_column("stopped_at", _("stopped"))

    @admin.action(description=_("Dismiss selected workers"))
    def dismiss(self, request: HttpRequest, queryset: QuerySet[WorkerProcess]) -> None:
        using = router.db_for_write(WorkerProcess)
        workers = {worker.pk: worker for worker in self.selected(request, queryset)}
        with write(using):
            # The operation checks again, by the database's clock, which of them respond.
            dismissed = operations.dismiss_workers(workers, using=using)
            for pk in dismissed:
                self.log_change(request, workers[pk], gettext("Dismissed."))
        if number := len(dismissed):
            text = ngettext(
                "%(count)d worker is dismissed.", "%(count)d workers are dismissed.", number
            )
            self.message_user(request, text % {"count": number}, messages.SUCCESS)
        if number := len(workers) - len(dismissed):
            text = ngettext(
                "%(count)d worker is running or has stopped: only workers that do not respond can "
                "be dismissed.",
                "%(count)d workers are running or have stopped: only workers that do not respond "
                "can be dismissed.",
                number,
            )
            self.message_user(request, text % {"count": number}, messages.ERROR)

    @admin.display(description=_("state"))
    def state(self, worker: WorkerProcess) -> SafeString:
        if worker.stopped_at is not None:
            return badge("stopped", gettext("Stopped"))
        if worker.is_alive(facts_of(worker).now):
            return badge("alive", gettext("Alive"))
        return badge("silent", gettext("Not responding"))

    @admin.display(description=_("functions"))
    def functions(self, worker: WorkerProcess) -> str:
        return ", ".join(json.loads(worker.functions_json)) or "-"

    @admin.display(description=_("stuck calls"))
    def stuck(self, worker: WorkerProcess) -> str:
        return ", ".join(map(str, OccupiedThreads.of(worker).calls)) or "-"
