"""Signs the requests of `HttpExecutor`, and verifies them where they are received.

This file needs nothing but Python, so that a receiver without the package may copy it.

A request has two headers. `Durable-Monty-Timestamp` is the Unix time in seconds at which it was
sent. `Durable-Monty-Signature` is one `v1=HEX` for each secret of the sender, separated by commas:
HMAC-SHA256, with the secret's UTF-8 bytes as the key, over the timestamp's text, a dot, and the
body's bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping

TIMESTAMP = "Durable-Monty-Timestamp"
SIGNATURE = "Durable-Monty-Signature"
TOLERANCE = 300.0


class InvalidSignature(ValueError):
    """A request was not signed with one of the secrets, or is too old. Answer it with 401."""


def sign(body: bytes, secrets: str | Iterable[str], timestamp: int) -> str:
    """Returns the value of the header `Durable-Monty-Signature`."""
    return ",".join(f"v1={_digest(body, secret, str(timestamp))}" for secret in _several(secrets))


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secrets: str | Iterable[str],
    *,
    tolerance: float = TOLERANCE,
    now: float | None = None,
) -> None:
    """Raises `InvalidSignature` unless `body`, as it was received, was signed with a secret.

    The names of `headers` may be in upper or lower case. Several secrets are for the time in which
    one replaces another. A request whose time differs by more than `tolerance` seconds is refused,
    as somebody may have recorded it.
    """
    given = {name.lower(): value for name, value in headers.items()}
    timestamp, signature = given.get(TIMESTAMP.lower(), ""), given.get(SIGNATURE.lower(), "")
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12):
        raise InvalidSignature(f"The header {TIMESTAMP} is missing, or no Unix time in seconds.")
    age = (time.time() if now is None else now) - int(timestamp)
    if abs(age) > tolerance:
        raise InvalidSignature(f"The request was signed {age:.0f} seconds ago.")
    found = [part.strip() for part in signature.split(",") if part.strip().startswith("v1=")]
    wanted = [f"v1={_digest(body, secret, timestamp)}" for secret in _several(secrets)]
    # All are compared, so that the time does not reveal which secret is right.
    matches = [
        hmac.compare_digest(each.encode(), other.encode()) for each in found for other in wanted
    ]
    if not any(matches):
        raise InvalidSignature(f"The header {SIGNATURE} is missing, or of another secret or body.")


def _digest(body: bytes, secret: str, timestamp: str) -> str:
    message = timestamp.encode() + b"." + body
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def _several(secrets: str | Iterable[str]) -> list[str]:
    found = [secrets] if isinstance(secrets, str) else list(secrets)
    if not found or not all(isinstance(each, str) and each for each in found):
        raise ValueError("A secret must be a text that is not empty.")
    return found
