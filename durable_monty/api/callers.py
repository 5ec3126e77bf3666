"""Says who sends a request, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from durable_monty.exceptions import NotPermitted
from durable_monty.models import ApiKey


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
