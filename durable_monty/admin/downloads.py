"""Files with long values: a page shows the beginning of a value, the file has all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from durable_monty.admin.formats import LONGEST, readable
from durable_monty.admin.pages import Page, PagesAdmin

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

# Never HTML, which a browser would run: values are written by anybody.
_TYPES = {"json": "application/json", "txt": "text/plain; charset=utf-8"}


class Downloads(Page):
    """The files of a row. Each has a name with its ending, and a function that gives its text."""

    name = "download"

    def __init__(self, texts: Mapping[str, Callable[[Any], str | None]]) -> None:
        self.texts = texts

    def permits(self, model_admin: PagesAdmin, request: HttpRequest) -> bool:
        return model_admin.has_view_permission(request)

    def respond(
        self, model_admin: PagesAdmin, request: HttpRequest, row: Any, **kwargs: Any
    ) -> HttpResponse:
        name = request.GET.get("file", "")
        text_of = self.texts.get(name)
        text = None if text_of is None else text_of(row)
        if text is None:
            raise Http404
        file_name = f"{row._meta.model_name}-{row.pk}-{name}"
        return HttpResponse(text, headers=attachment(file_name, _TYPES[name.rpartition(".")[2]]))

    def column(
        self,
        name: str,
        description: StrPromise,
        render: Callable[[Any], SafeString | str],
        limit: int = LONGEST,
    ) -> Callable[..., SafeString | str]:
        """Returns a field that shows a value, with a link to its file if it is too long."""

        @admin.display(description=description)
        def column(model_admin: PagesAdmin, row: Any) -> SafeString | str:
            text, shown = self.texts[name](row) or "", render(row)
            # The length as people read it, without the tags of the codec.
            if len(readable(text)) <= limit:
                return shown
            return format_html(
                '{}<p class="dm-more"><a href="{}?file={}">{}</a></p>',
                shown,
                model_admin.url_of(row, self.name),
                name,
                gettext("Download all of it (%(size)s)") % {"size": filesizeformat(len(text))},
            )

        return column


def attachment(file_name: str, content_type: str) -> dict[str, str]:
    """Returns the headers of a response that a browser saves and does not interpret."""
    return {
        "Content-Type": content_type,
        "Content-Disposition": f'attachment; filename="{file_name}"',
        "X-Content-Type-Options": "nosniff",
    }
