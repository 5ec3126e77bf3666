"""The secrets of executors, which their jobs show to the webhook.

An executor's secret is the option `webhook_secret` in `DURABLE_MONTY["EXECUTORS"]`: a text, or a
list of texts while one is replaced by another.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from durable_monty import conf
from durable_monty.exceptions import InvalidSecret
from durable_monty.executors import signing
from durable_monty.executors.loading import WEBHOOK_SECRET, executor_name
from durable_monty.functions import DEFAULT_EXECUTOR

# Characters. There is no way to stop somebody from guessing a short one.
_SHORTEST = 20


def executors_of_bearer(authorization: str) -> frozenset[str]:
    """Returns the executor names of calls which this header may answer. Raises `InvalidSecret`."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise InvalidSecret
    return _known(
        # No `any`: all are compared, so that the time tells nothing.
        sum([hmac.compare_digest(given.strip().encode(), each.encode()) for each in secrets])
        and names
        for secrets, names in _secrets()
    )


def executors_of_signature(body: bytes, headers: Mapping[str, str]) -> frozenset[str]:
    """As `executors_of_bearer`, of a request that `executors.signing.sign` has signed."""
    return _known(
        names if _is_signed(body, headers, secrets) else frozenset()
        for secrets, names in _secrets()
    )


def _known(found: Any) -> frozenset[str]:
    names = frozenset[str]().union(*(each or () for each in found))
    if not names:
        raise InvalidSecret
    return names


def _is_signed(body: bytes, headers: Mapping[str, str], secrets: list[str]) -> bool:
    try:
        signing.verify(body, headers, secrets)
    except signing.InvalidSignature:
        return False
    return True


def _secrets() -> list[tuple[list[str], frozenset[str]]]:
    """Secrets, and the executor names of the calls that they are for."""
    settings = conf.current()
    found = []
    default = executor_name(settings.EXECUTOR)
    for key, options in settings.EXECUTORS.items():
        if WEBHOOK_SECRET in options:
            name = executor_name(key)
            names = {name, DEFAULT_EXECUTOR} if name == default else {name}
            found.append((check_secret(key, options[WEBHOOK_SECRET]), frozenset(names)))
    return found


def check_secret(key: str, given: Any) -> list[str]:
    """Returns the secrets of one executor. Raises `ImproperlyConfigured`."""
    secrets = list(given) if isinstance(given, list | tuple) else [given]
    if not secrets or any(not isinstance(each, str) or len(each) < _SHORTEST for each in secrets):
        raise ImproperlyConfigured(
            f"DURABLE_MONTY['EXECUTORS'][{key!r}]['webhook_secret'] must be a text of at least "
            f"{_SHORTEST} characters, or a list of such."
        )
    return secrets
