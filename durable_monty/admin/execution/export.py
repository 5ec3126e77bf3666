"""Executions as a file of JSON."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.translation import gettext_lazy as _

from durable_monty.admin.downloads import attachment
from durable_monty.admin.pages import Page, PagesAdmin
from durable_monty.models import Call, Execution, Program
from durable_monty.reads.export import export_json


class ExportPage(Page):
    name = "export"
    label = _("Export")
    permission = "export_execution"

    def permits(self, model_admin: PagesAdmin, request: HttpRequest) -> bool:
        # The file has the calls and the source.
        sees_all = all(model_admin.may_view(model, request) for model in (Call, Program))
        return sees_all and super().permits(model_admin, request)

    def respond(
        self, model_admin: PagesAdmin, request: HttpRequest, row: Execution, **kwargs: Any
    ) -> StreamingHttpResponse:
        return _stream([row.pk], f"execution-{row.pk}.json")


EXPORT = ExportPage()


@admin.action(description=_("Export executions as JSON"))
def export(
    model_admin: PagesAdmin, request: HttpRequest, queryset: QuerySet[Execution]
) -> StreamingHttpResponse | None:
    if not EXPORT.permits(model_admin, request):
        raise PermissionDenied
    execution_ids = model_admin.selected(request, queryset.values_list("pk", flat=True))
    return _stream(execution_ids, "executions.json") if execution_ids else None


def _stream(execution_ids: Collection[uuid.UUID], name: str) -> StreamingHttpResponse:
    # In pieces: an export can be larger than the memory of a web process.
    pieces = export_json(execution_ids, router.db_for_read(Execution))
    return StreamingHttpResponse(pieces, headers=attachment(name, "application/json"))
