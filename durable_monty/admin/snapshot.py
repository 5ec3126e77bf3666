from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from durable_monty.admin.base import ReadOnlyAdmin, id_range, time_column
from durable_monty.admin.formats import name_and_id
from durable_monty.models import Snapshot


@admin.register(Snapshot)
class SnapshotAdmin(ReadOnlyAdmin):
    list_display = ["named", "turn", "bytes", "format", "created"]
    list_display_links = ["named"]
    list_select_related = ["execution"]
    ordering = ["-pk"]
    empty_text = _("None. Executions have one while they wait.")
    search_fields = ["pk"]
    search_help_text = _("The start of the execution's id.")
    fields = ["execution_link", "turn", "bytes", "format", "created"]

    created = time_column("created_at", _("created"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Snapshot]:
        rows = super().get_queryset(request).select_related("execution")
        # Not the bytes of the snapshot, which are many.
        return rows.only("turn", "size", "format", "created_at", "execution__name")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if term := search_term.strip():
            ids = id_range(term)
            queryset = queryset.filter(execution__id__range=ids) if ids else queryset.none()
        return queryset, False

    @admin.display(description=_("execution"))
    def named(self, snapshot: Snapshot) -> SafeString:
        return name_and_id(snapshot.execution)

    @admin.display(description=_("execution"))
    def execution_link(self, snapshot: Snapshot) -> SafeString:
        return self.link_to(snapshot.execution)

    @admin.display(description=_("size"))
    def bytes(self, snapshot: Snapshot) -> str:
        return filesizeformat(snapshot.size)
