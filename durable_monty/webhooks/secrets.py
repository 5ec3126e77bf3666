"""Checks the secrets that jobs of an executor show to the webhook.

An executor's secret is the option `webhook_secret` in `DURABLE_MONTY["EXECUTORS"]`: a text, or a
list of texts while one secret replaces another.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from durable_monty import conf
from durable_monty.exceptions import InvalidSecret
from durable_monty.executors import signing
from durable_monty.executors.loading import WEBHOOK_SECRET, executor_name
from durable_monty.functions import DEFAULT_EXECUTOR

# Characters. Nothing else stops somebody from guessing a short secret.
_SHORTEST = 20


def executors_of_bearer(authorization: str) -> frozenset[str]:
    """Returns the names of the executors whose calls an Authorization header may answer.

    Raises `InvalidSecret`.
    """
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise InvalidSecret
    return _executors(
        # `any` would stop at the first match, and the time would give away which one it is.
        lambda secrets: (
            sum([hmac.compare_digest(given.strip().encode(), each.encode()) for each in secrets])
            > 0
        )
    )


def executors_of_signature(body: bytes, headers: Mapping[str, str]) -> frozenset[str]:
    """Returns the names of the executors whose calls a request may answer that was signed by
    `executors.signing.sign`. Raises `InvalidSecret`."""

    def is_signed(secrets: list[str]) -> bool:
        try:
            signing.verify(body, headers, secrets)
        except signing.InvalidSignature:
            return False
        return True

    return _executors(is_signed)


def _executors(fits: Callable[[list[str]], bool]) -> frozenset[str]:
    """Returns the names of the executors whose secrets fit. Raises `InvalidSecret` without any."""
    settings = conf.current()
    default = executor_name(settings.EXECUTOR)
    names: set[str] = set()
    for key, options in settings.EXECUTORS.items():
        if WEBHOOK_SECRET in options and fits(check_secret(key, options[WEBHOOK_SECRET])):
            name = executor_name(key)
            names |= {name, DEFAULT_EXECUTOR} if name == default else {name}
    if not names:
        raise InvalidSecret
    return frozenset(names)


def check_secret(key: str, given: Any) -> list[str]:
    """Returns the secrets of one executor. Raises `ImproperlyConfigured`."""
    secrets = list(given) if isinstance(given, list | tuple) else [given]
    if not secrets or any(not isinstance(each, str) or len(each) < _SHORTEST for each in secrets):
        raise ImproperlyConfigured(
            f"DURABLE_MONTY['EXECUTORS'][{key!r}]['webhook_secret'] must be a text of at least "
            f"{_SHORTEST} characters, or a list of such."
        )
    return secrets
