"""The ModelAdmin that the others extend: it shows rows, and nobody edits or deletes them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ChangeList
from django.db import router
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from durable_monty.admin.formats import link, moment
from durable_monty.admin.paginator import CappedPaginator
from durable_monty.models.clock import database_now, now_of, with_now
from durable_monty.reads.fleet import Fleet
from durable_monty.reads.open_calls import OpenCalls

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

_ID_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts that the rows of one response share, read once for all of them."""

    using: str
    now: datetime
    fleet: Fleet = field(default_factory=lambda: Fleet(()))
    open_calls: Mapping[uuid.UUID, Sequence[OpenCalls]] = field(default_factory=dict)


def facts_of(row: Model) -> Facts:
    # They are kept on the row, because Django passes a column nothing else.
    facts: Facts = vars(row)["durable_facts"]
    return facts


def time_column(field: str, description: StrPromise) -> Callable[..., SafeString | str]:
    """Returns a column of a ModelAdmin that says how long ago the time in `field` was."""

    @admin.display(description=description)
    def column(model_admin: ReadOnlyAdmin, row: Any) -> SafeString | str:
        return moment(getattr(row, field), facts_of(row).now)

    return column


class FactsChangeList(ChangeList):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Django's title asks to select a row to change, which nobody does here.
        self.title = capfirst(str(self.opts.verbose_name_plural))

    def get_results(self, request: HttpRequest) -> None:
        model_admin = cast("ReadOnlyAdmin", self.model_admin)
        # The time comes with the rows: asking for it would be another query.
        self.queryset = with_now(self.queryset.defer(*model_admin.list_defer))
        super().get_results(request)
        # The template must walk along these very rows, which carry the facts.
        rows = list(self.result_list)
        if rows:
            model_admin.share_facts(rows, now_of(rows[0]))
        self.result_list = rows


class ReadOnlyAdmin(admin.ModelAdmin):
    """Shows rows. Only operations write them."""

    actions: Any = None
    list_per_page = 50
    paginator = CappedPaginator
    # Facets, and the count of all rows, are queries that grow with the table.
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    # An index serves the order of each list; another order would sort the whole table.
    sortable_by = ()
    view_on_site = False

    list_defer: Sequence[str] = ()
    """Columns that the list does not show and that can be large."""

    empty_text: str | StrPromise
    """The text of a list without rows: how to make one."""

    class Media:
        css = {"all": ["durable_monty/admin.css"]}

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        shown = flatten_fieldsets(self.get_fieldsets(request, obj))
        return [*self.readonly_fields, *shown]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return FactsChangeList

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        obj = super().get_object(request, object_id, from_field)
        if obj is not None:
            self.share_facts([obj], database_now(router.db_for_read(self.model)))
        return obj

    def share_facts(self, rows: Sequence[Model], now: datetime) -> None:
        facts = self.read_facts(rows, router.db_for_read(self.model), now)
        for row in rows:
            vars(row)["durable_facts"] = facts

    def read_facts(self, rows: Sequence[Any], using: str, now: datetime) -> Facts:
        return Facts(using, now)

    def may_view(self, model: type[Model], request: HttpRequest) -> bool:
        """Returns whether this site shows `model` to the user."""
        # A site may leave a model out, or register it with rules of its own.
        registered = self.admin_site._registry.get(model)
        return registered is not None and registered.has_view_permission(request)

    def link_to(self, row: Model, text: object = None) -> SafeString:
        return link(self.url_of(row), row if text is None else text)

    def url_of(self, row: Model, view: str = "change", *args: object) -> str:
        # A project may have several admin sites: a link stays in its site.
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}_{view}"
        return reverse(name, args=[row.pk, *args], current_app=self.admin_site.name)

    def list_url(self, model: type[Model]) -> str:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        return reverse(name, current_app=self.admin_site.name)


def id_range(term: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """Returns the lowest and the highest id that begin with `term`; None if none can."""
    digits = term.replace("-", "").lower()
    # Fewer digits are the start of too many ids to be of use.
    if not 4 <= len(digits) <= _ID_DIGITS or digits.strip("0123456789abcdef"):
        return None
    return uuid.UUID(digits.ljust(_ID_DIGITS, "0")), uuid.UUID(digits.ljust(_ID_DIGITS, "f"))
