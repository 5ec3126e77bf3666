"""Who sends a request, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from durable_monty.exceptions import NotPermitted
from durable_monty.models import ApiKey


@dataclass(frozen=True, slots=True)
class Caller:
    """A `user`, a key, or both. What a key may do is what its scopes and its user allow."""

    user: Any = None
    key: ApiKey | None = None

    def may(self, scope: str, *permissions: str) -> bool:
        """`scope`: a value of `KeyScope`; `permissions`: codenames of this app."""
        if self.key is not None and scope not in self.key.scope_set:
            return False
        if self.user is None:
            return self.key is not None
        return all(self.user.has_perm(f"durable_monty.{name}") for name in permissions)

    def require(self, scope: str, *permissions: str) -> None:
        """Raises `NotPermitted`."""
        if not self.may(scope, *permissions):
            raise NotPermitted(scope, permissions)

    @property
    def actor(self) -> Any:
        """What operations take as the user that does something."""
        return KeyActor(self.key) if self.user is None and self.key is not None else self.user


class KeyActor:
    """A key that acts for no user: it has no permissions that its scopes do not name."""

    pk = None

    def __init__(self, key: ApiKey) -> None:
        self._name = f"API key {key}"

    def get_username(self) -> str:
        return self._name

    def has_perm(self, permission: str) -> bool:
        return False


def caller_of(request: HttpRequest) -> Caller:
    """Returns whom the authentication found. A class of the project's own may give a user."""
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
    """Returns the caller. Raises `NotPermitted`."""
    caller = caller_of(request)
    caller.require(scope, *permissions)
    return caller
