"""Long values: what a page cuts can be had whole, as a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from durable_monty.admin.formats import LONGEST, readable
from durable_monty.admin.pages import PagesAdmin

# Gives the whole text of a row, or None.
_Reader = Callable[[Any], str | None]
_TYPES = {"json": "application/json", "txt": "text/plain; charset=utf-8"}


class Downloads(PagesAdmin):
    """`downloads`: file name with its ending -> reader."""

    downloads: Mapping[str, _Reader] = {}

    def object_pages(self) -> dict[str, Callable[..., Any]]:
        return {**super().object_pages(), "download": self.download_view}

    def download_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        name = request.GET.get("file", "")
        reader = self.downloads.get(name)
        text = None if row is None or reader is None else reader(row)
        if text is None:
            raise Http404
        return HttpResponse(
            text,
            content_type=_TYPES[name.rpartition(".")[2]],
            headers={
                "Content-Disposition": (
                    f'attachment; filename="{self.opts.model_name}-{row.pk}-{name}"'
                ),
                "X-Content-Type-Options": "nosniff",
            },
        )

    def with_download(
        self, row: Any, name: str, shown: SafeString | str, limit: int = LONGEST
    ) -> SafeString | str:
        """`shown`, and a link to the file if it is longer than what a page shows."""
        text = self.downloads[name](row) or ""
        if len(readable(text)) <= limit:
            return shown
        return format_html(
            '{}<p class="dm-more"><a href="{}?file={}">{}</a></p>',
            shown,
            self.page_url(row, "download"),
            name,
            gettext("Download all of it (%(size)s)") % {"size": filesizeformat(len(text))},
        )
