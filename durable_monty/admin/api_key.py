from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminIntegerFieldWidget, AdminTextInputWidget
from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.cache import add_never_cache_headers
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy as _, ngettext

from durable_monty import operations
from durable_monty.admin.base import facts_of, time_column
from durable_monty.admin.formats import badge
from durable_monty.admin.pages import AddPage, PagesAdmin
from durable_monty.models import ApiKey, KeyScope
from durable_monty.models.clock import database_now
from durable_monty.operations.transactions import write

# A key for longer than ten years is meant to have no end, and should say so.
_LONGEST_DAYS = 3_650


class KeyForm(forms.Form):
    name = forms.CharField(
        label=_("Name"),
        max_length=100,
        widget=AdminTextInputWidget,
        help_text=_("Where the key is used. The history names it."),
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
        help_text=_("Days. Leave empty for a key that never expires."),
    )
    acts_for = forms.CharField(
        label=_("Acts for"),
        required=False,
        widget=AdminTextInputWidget,
        help_text=_(
            "The name of a user, whose permissions limit the key. Without a user, only its "
            "scopes limit it, and its workflows may call only functions that are offered in the "
            "admin."
        ),
    )

    def __init__(self, data: Any, user: Any) -> None:
        """Lets only superusers make keys that may do more than their user."""
        super().__init__(data)
        self.user = user
        if not user.is_superuser:
            # Their key acts for them, and has no more permissions than they have.
            del self.fields["acts_for"]

    def clean_acts_for(self) -> Any:
        username = self.cleaned_data["acts_for"]
        if not username:
            return None
        # A project's user model may have another manager and another field for the name.
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


class MakePage(AddPage):
    permission = "manage_apikey"

    def respond(self, model_admin: PagesAdmin, request: HttpRequest) -> HttpResponse:
        form = KeyForm(request.POST if request.method == "POST" else None, request.user)
        title = gettext("Make an API key")
        if not form.is_valid():
            return model_admin.render_form(request, "api_key/make.html", title, form)
        using = router.db_for_write(ApiKey)
        with write(using):
            # The history has an entry for each key that exists.
            key, secret = form.make(using)
            model_admin.log_addition(request, key, gettext("Made."))
        response = model_admin.render_page(request, "api_key/made.html", title, key, secret=secret)
        # Only this page has the secret, and a cache must not keep it.
        add_never_cache_headers(response)
        return response


@admin.register(ApiKey)
class ApiKeyAdmin(PagesAdmin):
    add_page = MakePage()
    actions = ["revoke"]
    action_permissions = {"revoke": "manage_apikey"}
    list_display = [
        "__str__",
        "state",
        "scope_list",
        "acts_for",
        "last_used",
        "expires",
        "created",
    ]
    ordering = ["-pk"]
    empty_text = _("None yet. A key lets a program use the HTTP API.")
    search_fields = ["name", "prefix"]
    fields = [
        "name",
        "prefix",
        "state",
        "scope_list",
        "acts_for",
        "last_used",
        "expires",
        "created",
        "revoked",
    ]

    last_used = time_column("last_used_at", _("last used"))
    created = time_column("created_at", _("created"))
    revoked = time_column("revoked_at", _("revoked"))

    def share_facts(self, rows: Sequence[Model], now: datetime) -> None:
        super().share_facts(rows, now)
        # Users may be in another database: they cannot be joined.
        pks = {vars(key)["user_id"] for key in rows} - {None}
        users = get_user_model()._default_manager.in_bulk(pks)
        for key in rows:
            vars(key)["durable_user"] = users.get(vars(key)["user_id"])

    @admin.action(description=_("Revoke selected keys"))
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        using = router.db_for_write(ApiKey)
        keys = {key.pk: key for key in self.selected(request, queryset)}
        with write(using):
            # A key that was revoked meanwhile gets no second entry.
            revoked = operations.revoke_api_keys(keys, using=using)
            for pk in revoked:
                self.log_change(request, keys[pk], gettext("Revoked."))
        number = len(revoked)
        text = ngettext("%(count)d key is revoked.", "%(count)d keys are revoked.", number)
        level = messages.SUCCESS if number else messages.WARNING
        self.message_user(request, text % {"count": number}, level)

    @admin.display(description=_("state"))
    def state(self, key: ApiKey) -> SafeString:
        if key.revoked_at is not None:
            return badge("cancelled", gettext("Revoked"))
        if not key.is_valid(facts_of(key).now):
            return badge("stopped", gettext("Expired"))
        return badge("completed", gettext("Valid"))

    @admin.display(description=_("scopes"))
    def scope_list(self, key: ApiKey) -> str:
        return key.scopes.replace(",", ", ")

    @admin.display(description=_("acts for"))
    def acts_for(self, key: ApiKey) -> str:
        if key.user_id is None:
            return gettext("nobody")
        user = vars(key)["durable_user"]
        return gettext("a deleted user") if user is None else user.get_username()

    @admin.display(description=_("expires"))
    def expires(self, key: ApiKey) -> str:
        # Operators compare a time to come with a calendar, not with now.
        return "-" if key.expires_at is None else f"{key.expires_at:%Y-%m-%d %H:%M} UTC"
