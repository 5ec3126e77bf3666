from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminIntegerFieldWidget, AdminTextInputWidget
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import router
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.cache import add_never_cache_headers
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy as _, ngettext

from durable_monty import operations
from durable_monty.admin.base import page_of
from durable_monty.admin.formats import badge, moment
from durable_monty.admin.pages import PagesAdmin, admin_form
from durable_monty.models import ApiKey, KeyScope
from durable_monty.models.clock import database_now
from durable_monty.operations.transactions import write

_LONGEST_DAYS = 3_650


class KeyForm(forms.Form):
    name = forms.CharField(
        label=_("Name"),
        max_length=100,
        widget=AdminTextInputWidget,
        help_text=_("Where the key is used: it stands in the history."),
    )
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"), choices=KeyScope.choices, widget=forms.CheckboxSelectMultiple
    )
    days = forms.IntegerField(
        label=_("Expires after"),
        required=False,
        min_value=1,
        max_value=_LONGEST_DAYS,
        initial=365,
        widget=AdminIntegerFieldWidget,
        help_text=_("Days. Empty: never."),
    )
    acts_for = forms.CharField(
        label=_("Acts for"),
        required=False,
        widget=AdminTextInputWidget,
        help_text=_(
            "The name of a user, whose permissions limit the key. Empty: for nobody; then its "
            "scopes alone limit it, and it starts only functions that are offered in the admin."
        ),
    )

    def __init__(self, data: Any, user: Any) -> None:
        """Only superusers make keys that may do more than they themselves."""
        super().__init__(data)
        self.user = user
        if not user.is_superuser:
            del self.fields["acts_for"]

    def clean_acts_for(self) -> Any:
        username = self.cleaned_data["acts_for"]
        if not username:
            return None
        users = get_user_model()._default_manager
        found = users.filter(**{get_user_model().USERNAME_FIELD: username}).first()
        if found is None:
            raise forms.ValidationError(_("There is no such user."))
        return found

    def make(self, using: str) -> tuple[ApiKey, str]:
        given = self.cleaned_data
        days = given["days"]
        return operations.make_api_key(
            given["name"],
            given["scopes"],
            user=given.get("acts_for") if "acts_for" in self.fields else self.user,
            expires_at=None if days is None else database_now(using) + timedelta(days=days),
            using=using,
        )


@admin.register(ApiKey)
class ApiKeyAdmin(PagesAdmin):
    actions = ["revoke"]
    action_permissions = {"revoke": "manage_apikey"}
    list_display = ["named", "state", "scopes", "acts_for", "last_used", "expires", "created"]
    list_display_links = ["named"]
    ordering = ["-pk"]
    empty_text = _("None yet. A key lets a program use the HTTP API.")
    search_fields = ["name", "prefix"]
    readonly_fields = [
        "name",
        "prefix",
        "state",
        "scopes",
        "acts_for",
        "last_used",
        "expires",
        "created",
        "revoked",
    ]
    fields = tuple(readonly_fields)

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return self.may(request, "manage_apikey")

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = KeyForm(request.POST if request.method == "POST" else None, request.user)
        title = gettext("Make an API key")
        if not form.is_valid():
            adminform = admin_form(form, [(None, {"fields": list(form.fields)})])
            return self.render_page(request, "api_key/make.html", title, adminform=adminform)
        using = router.db_for_write(ApiKey)
        with write(using):
            key, secret = form.make(using)
            self.log_addition(request, key, gettext("Made."))
        response = self.render_page(request, "api_key/made.html", title, key, secret=secret)
        # The page is the only place where the secret is.
        add_never_cache_headers(response)
        return response

    def share_page(self, rows: Sequence[Model], now: datetime) -> None:
        super().share_page(rows, now)
        # Users may be in another database: they cannot be joined.
        pks = {vars(key)["user_id"] for key in rows} - {None}
        users = get_user_model()._default_manager.in_bulk(pks)
        for key in rows:
            vars(key)["durable_user"] = users.get(vars(key)["user_id"])

    @admin.action(description=_("Revoke selected keys"))
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        using = router.db_for_write(ApiKey)
        keys = {key.pk: key for key in self.chosen(request, queryset)}
        with write(using):
            revoked = operations.revoke_api_keys(keys, using=using)
            for pk in revoked:
                self.log_change(request, keys[pk], gettext("Revoked."))
        number = len(revoked)
        text = ngettext("%(count)d key is revoked.", "%(count)d keys are revoked.", number)
        level = messages.SUCCESS if number else messages.WARNING
        self.message_user(request, text % {"count": number}, level)

    @admin.display(description=_("name"))
    def named(self, key: ApiKey) -> str:
        return str(key)

    @admin.display(description=_("state"))
    def state(self, key: ApiKey) -> SafeString:
        if key.revoked_at is not None:
            return badge("cancelled", gettext("Revoked"))
        if not key.is_valid(page_of(key).now):
            return badge("stopped", gettext("Expired"))
        return badge("completed", gettext("Valid"))

    @admin.display(description=_("acts for"))
    def acts_for(self, key: ApiKey) -> str:
        if key.user_id is None:
            return gettext("nobody")
        user = vars(key)["durable_user"]
        return gettext("a user who is gone") if user is None else user.get_username()

    @admin.display(description=_("last used"))
    def last_used(self, key: ApiKey) -> SafeString | str:
        return moment(key.last_used_at, page_of(key).now)

    @admin.display(description=_("expires"))
    def expires(self, key: ApiKey) -> str:
        # Times to come: `moment` tells how long ago something was.
        return "-" if key.expires_at is None else f"{key.expires_at:%Y-%m-%d %H:%M} UTC"

    @admin.display(description=_("created"))
    def created(self, key: ApiKey) -> SafeString | str:
        return moment(key.created_at, page_of(key).now)

    @admin.display(description=_("revoked"))
    def revoked(self, key: ApiKey) -> SafeString | str:
        return moment(key.revoked_at, page_of(key).now)
