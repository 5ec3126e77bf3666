"""Says who sends a request, by a bearer key or a session, what they may do, and what they did."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.db.models import Model
from django.http import HttpRequest
from django.utils.translation import gettext
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from durable_monty import operations
from durable_monty.exceptions import CsrfRefused, InvalidKey, NotPermitted
from durable_monty.models import ApiKey

logger = logging.getLogger("durable_monty")

_SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Caller:
    """Holds a user, a key or both. A key needs a scope, and its user the permissions."""

    user: Any = None
    key: ApiKey | None = None

    def may(self, scope: str, *permissions: str) -> bool:
        """Returns whether the caller has a scope (`KeyScope`) and permissions (codenames)."""
        if self.key is not None and scope not in self.key.scope_set:
            return False
        if self.user is None:
            return self.key is not None
        return all(self.user.has_perm(f"durable_monty.{name}") for name in permissions)

    def require(self, scope: str, *permissions: str) -> None:
        """Raises `NotPermitted` unless `may` returns True."""
        if not self.may(scope, *permissions):
            raise NotPermitted(scope, permissions)

    @property
    def actor(self) -> Any:
        """Returns the user that operations record."""
        return KeyActor(self.key) if self.user is None and self.key is not None else self.user


class KeyActor:
    """Stands for the user of a key that has none. It has no permissions, only its scopes."""

    pk = None

    def __init__(self, key: ApiKey) -> None:
        self._name = f"API key {key}"

    def get_username(self) -> str:
        return self._name

    def has_perm(self, permission: str) -> bool:
        return False


class KeyAuth(AuthBase):
    """Reads a key from “Authorization: Bearer KEY”. Refuses a wrong one, even beside a session."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __call__(self, request: HttpRequest) -> Caller | None:
        kind, _, secret = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        key = operations.use_api_key(secret.strip(), using=router.db_for_write(ApiKey))
        if key is None:
            raise InvalidKey
        if key.user_id is None:
            return Caller(key=key)
        user = get_user_model()._default_manager.filter(pk=key.user_id).first()
        if user is None or not user.is_active:
            raise InvalidKey
        return Caller(user, key)


class SessionAuth(AuthBase):
    """Uses Django's session. Requests that change something need the CSRF token."""

    openapi_type = "apiKey"
    openapi_in = "cookie"

    def __init__(self) -> None:
        self.openapi_name = settings.SESSION_COOKIE_NAME
        super().__init__()

    def __call__(self, request: HttpRequest) -> Caller | None:
        user = getattr(request, "user", None)
        if user is None or not user.is_authenticated or not user.is_active:
            return None
        if request.method not in _SAFE and check_csrf(request):
            raise CsrfRefused
        return Caller(user)


def caller_of(request: HttpRequest) -> Caller:
    """Returns the caller that the authentication found."""
    # Authentication of the project's own may return a user.
    found = getattr(request, "auth", None)
    if isinstance(found, Caller):
        return found
    if hasattr(found, "has_perm"):
        return Caller(user=found)
    raise ImproperlyConfigured(
        f"An authentication class of the API gave {type(found).__name__}: it must give a user or "
        "a durable_monty.api.Caller."
    )


def require(request: HttpRequest, scope: str, *permissions: str) -> Caller:
    """Returns the caller of a request. Raises `NotPermitted`."""
    caller = caller_of(request)
    caller.require(scope, *permissions)
    return caller


def note(caller: Caller, row: Model, text: str, reason: str = "", *, is_new: bool = False) -> None:
    """Records that `caller` changed `row`, or made it if `is_new`."""
    if reason:
        text = f"{text} {gettext('Reason: %(reason)s') % {'reason': reason}}"
    if caller.key is not None:
        text = f"{text} {gettext('API key: %(key)s.') % {'key': caller.key}}"
    actor = caller.actor.get_username()
    facts = {"model": row._meta.model_name, "pk": str(row.pk), "user": actor}
    logger.info("API: %s %s, by %s: %s", row._meta.model_name, row.pk, actor, text, extra=facts)
    if caller.user is None or not apps.is_installed("django.contrib.admin"):
        return
    # Its models cannot be imported in a project without the admin.
    from django.contrib.admin.models import ADDITION, CHANGE, LogEntry

    LogEntry.objects.log_actions(
        caller.user.pk, [row], ADDITION if is_new else CHANGE, text, single_object=True
    )
