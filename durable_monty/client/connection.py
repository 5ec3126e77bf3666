"""Translates between requests of this package and the arguments and errors of httpx."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from durable_monty.client.exchange import Broken
from durable_monty.client.requests import Request

if TYPE_CHECKING:
    import httpx


def require_httpx() -> ModuleType:
    """Returns the module httpx. Raises ImportError that says how to install it."""
    try:
        import httpx
    except ModuleNotFoundError as exc:
        raise ImportError(
            "The client needs httpx: pip install 'django-durable-monty[client]'"
        ) from exc
    return httpx


def options_of(key: str | None, timeout: float, headers: Mapping[str, str]) -> dict[str, Any]:
    """Returns the arguments for a client of httpx."""
    # Tagged values keep their types; plain JSON has no dates, bytes or sets.
    sent = {"Accept": "application/json", "Durable-Values": "tagged", **headers}
    # A redirect could lead the key to another host.
    if key is not None:
        sent["Authorization"] = f"Bearer {key}"
    return {"headers": sent, "timeout": timeout, "follow_redirects": False}


def parts_of(base_url: str, request: Request[Any]) -> dict[str, Any]:
    """Returns the arguments with which httpx sends a request."""
    parts: dict[str, Any] = {
        "method": request.method,
        "url": base_url.rstrip("/") + request.path,
        "params": dict(request.query),
    }
    if request.body is not None:
        parts["content"] = json.dumps(request.body).encode()
        parts["headers"] = {"Content-Type": "application/json"}
    return parts


def broken(exc: httpx.TransportError) -> Broken:
    """Returns the outcome of a request that got no response."""
    # These are raised before anything is sent. After others the server may have the request.
    httpx = require_httpx()
    never_sent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
    return Broken(f"{type(exc).__name__}: {exc}", not isinstance(exc, never_sent))
