from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from durable_monty.admin.base import ReadOnlyAdmin, page_of
from durable_monty.admin.formats import LONG, block, moment
from durable_monty.models import Program


@admin.register(Program)
class ProgramAdmin(ReadOnlyAdmin):
    list_display = ["short", "calls", "created"]
    list_display_links = ["short"]
    list_defer = ["source"]
    ordering = ["-pk"]
    search_fields = ["sha256__startswith"]
    search_help_text = _("The beginning of a SHA-256.")
    readonly_fields = ["sha256", "calls", "created", "source_block"]
    fields = tuple(readonly_fields)

    @admin.display(description=_("SHA-256"))
    def short(self, program: Program) -> SafeString:
        return format_html('<code title="{}">{}</code>', program.sha256, program)

    @admin.display(description=_("may call"))
    def calls(self, program: Program) -> str:
        return ", ".join(program.functions) or "-"

    @admin.display(description=_("created"))
    def created(self, program: Program) -> SafeString | str:
        return moment(program.created_at, page_of(program).now)

    @admin.display(description=_("source"))
    def source_block(self, program: Program) -> SafeString:
        return block(program.source, LONG)
