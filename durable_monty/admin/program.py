from __future__ import annotations

import re
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from durable_monty.admin.base import ReadOnlyAdmin, time_column
from durable_monty.admin.formats import LONG, block
from durable_monty.models import Program

_DIGITS = 64
# Where other code of the file is blank.
_GAP = re.compile(r"\n{4,}")


@admin.register(Program)
class ProgramAdmin(ReadOnlyAdmin):
    list_display = ["short", "calls", "created"]
    list_display_links = ["short"]
    list_defer = ["source"]
    ordering = ["-pk"]
    empty_text = _("None yet. Each source that is started is stored here once.")
    search_fields = ["sha256"]
    search_help_text = _("The start of a SHA-256.")
    fields = ["sha256", "calls", "created", "source_block"]

    created = time_column("created_at", _("created"))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        # A range of values: SQLite has no index for LIKE.
        if term := search_term.strip().lower():
            first, last = term.ljust(_DIGITS, "0"), term.ljust(_DIGITS, "f")
            queryset = queryset.filter(sha256__range=(first, last))
        return queryset, False

    @admin.display(description=_("SHA-256"))
    def short(self, program: Program) -> SafeString:
        return format_html('<code title="{}">{}</code>', program.sha256, program)

    @admin.display(description=_("allowed functions"))
    def calls(self, program: Program) -> str:
        return ", ".join(program.functions) or "-"

    @admin.display(description=_("source"))
    def source_block(self, program: Program) -> SafeString:
        return block(_GAP.sub("\n\n\n", program.source.lstrip("\n")), LONG)
