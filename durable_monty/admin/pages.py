"""Pages of our own, beside the list and the form that Django makes for a model."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import AdminForm
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import AdminTextareaWidget
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext, gettext_lazy as _, ngettext
from django.views.decorators.http import require_http_methods

from durable_monty.admin.base import ReadOnlyAdmin
from durable_monty.text_limits import MAX_REASON

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

# Each row of an action is a transaction of its own, while the browser waits.
AT_ONCE = 500
# Messages travel in a cookie or in the session.
_REFUSALS_SHOWN = 10
TOKEN = "form_token"  # noqa: S105  (no secret)


@dataclass(frozen=True, slots=True)
class Button:
    """A button at the top of a page: a link to `url`, or a form that posts to it."""

    label: str
    url: str
    posts: bool = False
    token: str = ""


class Page:
    """A page below the page of a row: its path, its permission, its view and its button.

    Instances hold no state of a request. They view in the `pages` of a `PagesAdmin`.
    """

    name: str
    """The last part of the name of its URL, `admin:durable_monty_<model>_<name>`."""

    label: str | StrPromise = ""
    """The text of its button; a page without a label has none."""

    permission = ""
    methods: Sequence[str] = ("GET", "HEAD", "POST")

    @property
    def path(self) -> str:
        """The path below the page of the row."""
        return f"{self.name}/"

    def permits(self, model_admin: PagesAdmin, request: HttpRequest) -> bool:
        return model_admin.may(request, self.permission)

    def is_offered(self, row: Any) -> bool:
        """Returns whether the button is shown to a user who may use it."""
        return True

    def button(self, model_admin: PagesAdmin, row: Any) -> Button:
        return Button(str(self.label), model_admin.url_of(row, self.name))

    def serve(
        self, model_admin: PagesAdmin, request: HttpRequest, object_id: str, **kwargs: Any
    ) -> HttpResponseBase:
        """Checks the permission and finds the row. Raises `PermissionDenied` or `Http404`."""
        # Users who may not act here must not learn which ids exist.
        if not self.permits(model_admin, request):
            raise PermissionDenied
        row = model_admin.get_object(request, object_id)
        if row is None:
            raise Http404
        if not model_admin.has_view_permission(request, row):
            raise PermissionDenied
        return self.respond(model_admin, request, row, **kwargs)

    def respond(
        self, model_admin: Any, request: HttpRequest, row: Any, **kwargs: Any
    ) -> HttpResponseBase:
        raise NotImplementedError


class AddPage:
    """The page on which a row is made: its permission and its view."""

    permission: str

    def respond(self, model_admin: Any, request: HttpRequest) -> HttpResponse:
        raise NotImplementedError


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=MAX_REASON,
        widget=AdminTextareaWidget(attrs={"rows": 2}),
        help_text=_("For the history."),
    )


class PagesAdmin(ReadOnlyAdmin):
    """Serves `pages`, each at `<object_id>/<path>`, and shows their buttons."""

    pages: Sequence[Page] = ()
    add_page: AddPage | None = None
    action_permissions: Mapping[str, str] = {}
    """The permission of each action, by the name of the action."""

    class Media:
        css = {"all": ["durable_monty/actions.css"]}

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        pages = [
            path(f"<path:object_id>/{page.path}", self._view(page), name=f"{name}_{page.name}")
            for page in self.pages
        ]
        # Before Django's own, whose last pattern takes every path below a row.
        return [*pages, *super().get_urls()]

    def _view(self, page: Page) -> Callable[..., HttpResponseBase]:
        @require_http_methods(page.methods)
        def view(request: HttpRequest, object_id: str, **kwargs: Any) -> HttpResponseBase:
            return page.serve(self, request, unquote(object_id), **kwargs)

        return self.admin_site.admin_view(view)

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return self.add_page is not None and self.may(request, self.add_page.permission)

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if self.add_page is None or not self.has_add_permission(request):
            raise PermissionDenied
        return self.add_page.respond(self, request)

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        # Django passes `action_location` from 6.1 on.
        known = {} if action_location is None else {"action_location": action_location}
        return {
            name: action
            for name, action in super().get_actions(request, **known).items()
            if name not in self.action_permissions
            or self.may(request, self.action_permissions[name])
        }

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["buttons"] = self.get_buttons(request, context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    def get_buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        return [
            page.button(self, row)
            for page in self.pages
            if page.label and page.permits(self, request) and page.is_offered(row)
        ]

    def may(self, request: HttpRequest, permission: str) -> bool:
        """Returns whether the user may see the model and has this permission of the app."""
        return self.has_view_permission(request) and request.user.has_perm(
            f"durable_monty.{permission}"
        )

    def selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Returns the rows of an action. If they are too many, says so and returns none."""
        # One row more shows that there are too many, and no count is needed.
        rows = list(queryset[: AT_ONCE + 1])
        if len(rows) <= AT_ONCE:
            return rows
        text = gettext("Nothing was changed: select no more than %(count)d at once.")
        self.message_user(request, text % {"count": AT_ONCE}, messages.ERROR)
        return []

    def show_refusals(self, request: HttpRequest, refusals: Sequence[str]) -> None:
        """Shows the first refusals as messages, and the number of the others."""
        for text in refusals[:_REFUSALS_SHOWN]:
            self.message_user(request, text, messages.ERROR)
        if left := len(refusals[_REFUSALS_SHOWN:]):
            text = ngettext("%(count)d more was refused.", "%(count)d more were refused.", left)
            self.message_user(request, text % {"count": left}, messages.ERROR)

    def render_page(
        self, request: HttpRequest, template: str, title: str, row: Any = None, **context: Any
    ) -> HttpResponse:
        # With it, `{% url %}` in the template stays in this admin site.
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

    def render_form(
        self,
        request: HttpRequest,
        template: str,
        title: str,
        form: forms.BaseForm,
        *,
        fieldsets: Iterable[tuple[str | None, dict[str, Any]]] = (),
        row: Any = None,
        **context: Any,
    ) -> HttpResponse:
        """Renders a page with `form`, as the admin shows its own forms."""
        sections: Any = list(fieldsets) or [(None, {"fields": list(form.fields)})]
        return self.render_page(
            request,
            template,
            title,
            row,
            adminform=AdminForm(form, sections, {}),  # type: ignore[arg-type]
            token_name=TOKEN,
            token=request.POST.get(TOKEN) or new_token(),
            **context,
        )


def new_token() -> str:
    return uuid.uuid4().hex


def key_of(request: HttpRequest, row_id: object = "") -> str:
    """Returns an idempotency key made of the form's token: a form sent twice starts one."""
    token = request.POST.get(TOKEN, "")
    # Another text could be made to meet the keys of other callers.
    if not re.fullmatch("[0-9a-f]{32}", token):
        token = new_token()
    return f"admin:{token}:{row_id}".rstrip(":")


def with_reason(text: str, reason: str) -> str:
    """Returns the text of a history entry."""
    if not reason:
        return text
    return text + " " + gettext("Reason: %(reason)s") % {"reason": reason}
