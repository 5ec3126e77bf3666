from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db import router
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from durable_monty.admin.formats import link
from durable_monty.admin.paginator import CappedPaginator
from durable_monty.models.clock import database_now, now_of, with_now
from durable_monty.reads.fleet import Fleet
from durable_monty.reads.open_calls import OpenCalls

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

_ID_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Page:
    """What the cells of a page share, read once for all its rows."""

    using: str
    now: datetime
    fleet: Fleet = field(default_factory=lambda: Fleet(()))
    open_calls: Mapping[uuid.UUID, Sequence[OpenCalls]] = field(default_factory=dict)


def page_of(row: Model) -> Page:
    page: Page = vars(row)["durable_page"]
    return page


class PageChangeList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        read_only = cast("ReadOnlyAdmin", self.model_admin)
        self.queryset = with_now(self.queryset.defer(*read_only.list_defer))
        super().get_results(request)
        rows = list(self.result_list)
        if rows:
            read_only.share_page(rows, now_of(rows[0]))
        self.result_list = rows


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows are written by operations alone: nobody adds, edits or deletes them here."""

    actions: Any = None
    list_per_page = 50
    paginator = CappedPaginator
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by = ()
    view_on_site = False

    list_defer: Sequence[str] = ()
    """Columns that a list does not show, and that can be large."""

    empty_text: str | StrPromise
    """What to do while there are no rows."""

    class Media:
        css = {"all": ["durable_monty/admin.css"]}

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PageChangeList

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        obj = super().get_object(request, object_id, from_field)
        if obj is not None:
            self.share_page([obj], database_now(router.db_for_read(self.model)))
        return obj

    def share_page(self, rows: Sequence[Model], now: datetime) -> None:
        page = self.read_page(rows, router.db_for_read(self.model), now)
        for row in rows:
            vars(row)["durable_page"] = page

    def read_page(self, rows: Sequence[Any], using: str, now: datetime) -> Page:
        return Page(using, now)

    def may_view(self, model: type[Model], request: HttpRequest) -> bool:
        """Whether this site shows `model` to the user."""
        registered = self.admin_site._registry.get(model)
        return registered is not None and registered.has_view_permission(request)

    def link_to(self, row: Model, text: object = None) -> SafeString:
        return link(self.url_of(row), row if text is None else text)

    def url_of(self, row: Model, view: str = "change", *args: object) -> str:
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}_{view}"
        return reverse(name, args=[row.pk, *args], current_app=self.admin_site.name)


def id_range(term: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """The lowest and the highest id that begin with `term`; None if it begins no id."""
    digits = term.replace("-", "").lower()
    if not 4 <= len(digits) <= _ID_DIGITS or digits.strip("0123456789abcdef"):
        return None
    return uuid.UUID(digits.ljust(_ID_DIGITS, "0")), uuid.UUID(digits.ljust(_ID_DIGITS, "f"))
