"""Executions as a file of JSON."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty.admin.execution.actions import ExecutionActions, Tool
from durable_monty.models import Call, Execution, Program
from durable_monty.reads.export import export_json


class ExportPage(ExecutionActions):
    """A mixin of the admin of executions."""

    action_permissions = {**ExecutionActions.action_permissions, "export": "export_execution"}

    def object_pages(self) -> dict[str, Callable[..., Any]]:
        return {**super().object_pages(), "export": self.export_view}

    def tools(self, request: HttpRequest, execution: Execution) -> list[Tool]:
        tools = super().tools(request, execution)
        if self.may_export(request):
            tools.append(Tool(gettext("Export"), self.page_url(execution, "export")))
        return tools

    def may_export(self, request: HttpRequest) -> bool:
        """The file has calls and source."""
        seen = self.may_view(Call, request) and self.may_view(Program, request)
        return seen and self.may(request, "export_execution")

    def export_view(self, request: HttpRequest, object_id: str) -> StreamingHttpResponse:
        if not self.may_export(request):
            raise PermissionDenied
        execution = self.found(request, object_id, "export_execution")
        return exported([execution.pk], f"execution-{execution.pk}.json")


def exported(execution_ids: Collection[uuid.UUID], name: str) -> StreamingHttpResponse:
    pieces = export_json(execution_ids, router.db_for_read(Execution))
    return StreamingHttpResponse(
        pieces,
        content_type="application/json",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
        },
    )


@admin.action(description=_("Export executions as JSON"))
def export(
    model_admin: ExportPage, request: HttpRequest, queryset: QuerySet[Execution]
) -> StreamingHttpResponse | None:
    if not model_admin.may_export(request):
        raise PermissionDenied
    execution_ids = model_admin.chosen(request, queryset.values_list("pk", flat=True))
    return exported(execution_ids, "executions.json") if execution_ids else None
