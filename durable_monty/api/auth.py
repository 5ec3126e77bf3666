"""Authenticates callers by a bearer key, or by the session of a user who has logged in."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import router
from django.http import HttpRequest
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from durable_monty import operations
from durable_monty.api.callers import Caller
from durable_monty.exceptions import CsrfRefused, InvalidKey
from durable_monty.models import ApiKey

_SAFE = ("GET", "HEAD", "OPTIONS")


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
