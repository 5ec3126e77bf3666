from __future__ import annotations

import json

from django.contrib import admin
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty.admin.base import ReadOnlyAdmin, page_of
from durable_monty.admin.filters import AliveFilter
from durable_monty.admin.formats import badge, moment
from durable_monty.models import WorkerProcess


@admin.register(WorkerProcess)
class WorkerProcessAdmin(ReadOnlyAdmin):
    list_display = ["named", "state", "heartbeat", "executor", "version", "started"]
    list_display_links = ["named"]
    list_defer = ["functions_json"]
    list_filter = [AliveFilter]
    ordering = ["-pk"]
    empty_text = _("None yet. Start one with “manage.py runworker”.")
    search_fields = ["host__startswith"]
    search_help_text = _("The beginning of a host's name.")
    readonly_fields = [
        "state",
        "host",
        "pid",
        "executor",
        "functions",
        "version",
        "sandbox_version",
        "heartbeat",
        "started",
        "stopped",
    ]
    fields = tuple(readonly_fields)

    @admin.display(description=_("worker"))
    def named(self, worker: WorkerProcess) -> str:
        return str(worker)

    @admin.display(description=_("state"))
    def state(self, worker: WorkerProcess) -> SafeString:
        if worker.stopped_at is not None:
            return badge("stopped", gettext("Stopped"))
        if worker.is_alive(page_of(worker).now):
            return badge("alive", gettext("Alive"))
        return badge("silent", gettext("Silent"))

    @admin.display(description=_("functions"))
    def functions(self, worker: WorkerProcess) -> str:
        return ", ".join(json.loads(worker.functions_json)) or "-"

    @admin.display(description=_("last heartbeat"))
    def heartbeat(self, worker: WorkerProcess) -> SafeString | str:
        return moment(worker.heartbeat_at, page_of(worker).now)

    @admin.display(description=_("started"))
    def started(self, worker: WorkerProcess) -> SafeString | str:
        return moment(worker.started_at, page_of(worker).now)

    @admin.display(description=_("stopped"))
    def stopped(self, worker: WorkerProcess) -> SafeString | str:
        return moment(worker.stopped_at, page_of(worker).now)
