"""Reads what Lambda answers: results, errors of functions, and its own refusals."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from durable_monty import codec
from durable_monty.exceptions import CorruptValue
from durable_monty.executors.requests.failures import RequestFailed, retry_after, type_named

# Errors of the runtime and of the service about a result that is too large or not JSON.
_UNSENDABLE = {"Runtime.MarshalError", "Function.ResponseSizeTooLarge"}


def status_of(exc: ClientError) -> int:
    return int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))


def refusal_of(function: str, exc: ClientError) -> RequestFailed:
    """Returns the failure of an invocation that Lambda refused, so that the function did not
    run."""
    status, found = status_of(exc), exc.response.get("Error", {})
    return RequestFailed(
        found.get("Code") or "RuntimeError",
        f"Lambda refused the invocation of {function}(): {found.get('Message') or exc}",
        # A conflict passes when an update of the function has ended, a throttle with the load.
        is_final=400 <= status < 500 and status not in (409, 429),
        retry_after=retry_after(exc.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})),
    )


def failure_of(function: str, body: bytes) -> RequestFailed:
    """Returns the failure of a function that raised, from the JSON of Lambda's runtimes."""
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        text = body[:500].decode(errors="replace")
        return RequestFailed("RuntimeError", f"{function}() failed: {text}")
    kind, message = found.get("errorType"), str(found.get("errorMessage", ""))
    if kind in _UNSENDABLE:
        message = f"{function}() returned what cannot be stored: {message}"
        return RequestFailed("TypeError", message, is_final=True)
    if "Task timed out" in message or kind == "Sandbox.Timedout":
        kind = "TimeoutError"
    failure = RequestFailed(type_named(kind), message)
    lines = found.get("stackTrace") or found.get("trace")  # of Python and of Node.js
    if isinstance(lines, list):
        failure.traceback = "".join(f"{str(line).rstrip()}\n" for line in lines)
    return failure


def value_of(function: str, body: bytes) -> Any:
    """Returns the result in a payload. Raises `RequestFailed`."""
    try:
        return codec.decode(body.decode().strip() or "null")
    except (CorruptValue, UnicodeDecodeError) as exc:
        raise RequestFailed("TypeError", f"{function}() returned what is no JSON: {exc}") from exc
