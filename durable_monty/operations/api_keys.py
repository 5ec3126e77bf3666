"""Makes, uses and revokes keys of the HTTP API."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from django.db.models import Q

from durable_monty.models.api_key import USE_NOTED_EVERY, ApiKey, KeyScope, hash_of
from durable_monty.models.clock import database_now
from durable_monty.operations.locks import locked
from durable_monty.operations.transactions import write

# Scanners of repositories find leaked secrets by their beginning.
_BEGINNING = "dmk_"
_SHOWN = len(_BEGINNING) + 8


def make_api_key(
    name: str,
    scopes: Iterable[str],
    *,
    user: Any = None,
    expires_at: datetime | None = None,
    using: str,
) -> tuple[ApiKey, str]:
    """Stores a key, and returns it with its secret, which cannot be read again.

    The permissions of `user` limit the key. Without a user its scopes alone do, and it may start
    only workflows whose functions have `admin=True`. Raises ValueError for an unknown scope.
    """
    secret = _BEGINNING + secrets.token_urlsafe(32)
    chosen = {KeyScope(scope) for scope in scopes}
    with write(using):
        key = ApiKey.objects.using(using).create(
            name=name,
            prefix=secret[:_SHOWN],
            sha256=hash_of(secret),
            scopes=",".join(scope for scope in KeyScope if scope in chosen),
            user_id=None if user is None else user.pk,
            created_at=database_now(using),
            expires_at=expires_at,
        )
    return key, secret


def use_api_key(secret: str, *, using: str) -> ApiKey | None:
    """Returns the valid key of a secret, and records its use."""
    key = ApiKey.objects.using(using).filter(sha256=hash_of(secret)).first()
    if key is None:
        return None
    now = database_now(using)
    if not key.is_valid(now):
        return None
    if not key.is_use_noted(now):  # at most once a minute: not every request is to write
        with write(using):
            old = Q(last_used_at=None) | Q(last_used_at__lte=now - USE_NOTED_EVERY)
            keys = ApiKey.objects.using(using).filter(old, pk=key.pk)
            keys.update(last_used_at=now)
    return key


def revoke_api_keys(pks: Collection[int], *, using: str) -> list[int]:
    """Revokes keys at once, and returns those that were not revoked before."""
    with write(using):
        keys = ApiKey.objects.using(using).filter(pk__in=pks, revoked_at=None)
        found = list(locked(keys.order_by("pk")).values_list("pk", flat=True))
        ApiKey.objects.using(using).filter(pk__in=found).update(revoked_at=database_now(using))
    return found
