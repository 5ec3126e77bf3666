"""Pages of our own beside a model's list and form: where they are, and what surrounds them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import AdminForm
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext, ngettext

from durable_monty.admin.base import ReadOnlyAdmin

_View = Callable[..., Any]

# Rows of one action: each is a transaction of its own, while the browser waits.
AT_ONCE = 500
_TOLD = 10
TOKEN = "form_token"  # noqa: S105  (no secret)


class PagesAdmin(ReadOnlyAdmin):
    """Views under `<object_id>/<name>/`, for those who may see the object."""

    action_permissions: Mapping[str, str] = {}
    """The name of an action -> its permission."""

    class Media:
        css = {"all": ["durable_monty/actions.css"]}

    def object_pages(self) -> dict[str, _View]:
        """Name -> view, which takes the request and the object's id as it stands in the URL."""
        return {}

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        """`action_location`: from Django 6.1 on."""
        known = {} if action_location is None else {"action_location": action_location}
        return {
            name: action
            for name, action in super().get_actions(request, **known).items()
            if name not in self.action_permissions
            or self.may(request, self.action_permissions[name])
        }

    def get_urls(self) -> list[URLPattern]:
        pages = [
            path(
                f"<path:object_id>/{name}/",
                self._wrapped(view),
                name=f"{self.opts.app_label}_{self.opts.model_name}_{name}",
            )
            for name, view in self.object_pages().items()
        ]
        return [*pages, *super().get_urls()]

    def _wrapped(self, view: _View) -> _View:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return self.admin_site.admin_view(view)(*args, **kwargs)

        vars(wrapper)["model_admin"] = self
        return update_wrapper(wrapper, view)

    def page_url(self, row: Any, name: str) -> str:
        view = f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}"
        return reverse(view, args=[row.pk], current_app=self.admin_site.name)

    def may(self, request: HttpRequest, permission: str) -> bool:
        """Whether the user may see the model, and has this permission of the app."""
        return self.has_view_permission(request) and request.user.has_perm(
            f"durable_monty.{permission}"
        )

    def found(self, request: HttpRequest, object_id: str, permission: str) -> Any:
        """The object; Http404, or PermissionDenied, which comes first."""
        if not self.may(request, permission):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        return row

    def chosen(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """The rows of an action; none, and a message, if they are too many."""
        rows = list(queryset[: AT_ONCE + 1])
        if len(rows) <= AT_ONCE:
            return rows
        text = gettext("Nothing was done: choose at most %(count)d at once.")
        self.message_user(request, text % {"count": AT_ONCE}, messages.ERROR)
        return []

    def tell_refusals(self, request: HttpRequest, refusals: Sequence[str]) -> None:
        """The first of them; of very many their number."""
        for text in refusals[:_TOLD]:
            self.message_user(request, text, messages.ERROR)
        if left := len(refusals[_TOLD:]):
            text = ngettext("%(count)d more was refused.", "%(count)d more were refused.", left)
            self.message_user(request, text % {"count": left}, messages.ERROR)

    def render_page(
        self, request: HttpRequest, template: str, title: str, row: Any = None, **context: Any
    ) -> HttpResponse:
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            f"admin/durable_monty/{template}",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "original": row,
                "row_url": "" if row is None else self.url_of(row),
                "title": title,
                "media": self.media,
                **context,
            },
        )


def admin_form(form: forms.BaseForm, fieldsets: list[Any]) -> AdminForm:
    """`form` as the admin shows its own."""
    return AdminForm(form, fieldsets, {})  # type: ignore[arg-type]


def new_token() -> str:
    return uuid.uuid4().hex


def key_of(token: str, row_id: object = "") -> str:
    """The idempotency key of what a form starts: sent twice, it starts it once."""
    if not re.fullmatch("[0-9a-f]{32}", token):
        token = new_token()
    return f"admin:{token}:{row_id}".rstrip(":")


def with_reason(text: str, reason: str) -> str:
    """For the history."""
    if not reason:
        return text
    return text + " " + gettext("Reason: %(reason)s") % {"reason": reason}
