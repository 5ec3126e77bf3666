"""Reads the responses of services: results, accepted calls, errors and everything else."""

from __future__ import annotations

from typing import Any

from durable_monty import codec
from durable_monty.exceptions import CorruptValue
from durable_monty.executors.http.wire import Response
from durable_monty.executors.requests.exchange import Reply
from durable_monty.executors.requests.failures import RequestFailed, retry_after, type_named

# Client errors that another attempt may not meet.
_PASSING = {408, 425, 429}
# Characters of a body that an error message quotes.
_SHOWN = 500


def reply_of(response: Response, function: str) -> Reply:
    """Returns the reply in a response. Raises `RequestFailed` for every other response."""
    if response.status == 202:
        return Reply(accepted=True)
    if response.status != 200:
        raise _failure_of(response, function)
    if response.is_cut:
        raise RequestFailed.too_large(function)
    document = _document(response)
    if document is None:
        kind = response.content_type or "no content type"
        raise _no_answer(function, f"200 with {kind}, not with JSON", response)
    if "result" not in document:
        raise _no_answer(function, "200 with JSON that has no 'result'", response)
    return Reply(document["result"])


def _failure_of(response: Response, function: str) -> RequestFailed:
    status = response.status
    if 300 <= status < 400:
        where = response.headers.get("location", "nowhere")[:200]
        return RequestFailed(
            "RuntimeError",
            f"The URL of {function}() answered {status}, a redirect to {where}. Redirects are not "
            "followed: register the URL that it leads to.",
            is_final=True,
        )
    error = (_document(response) or {}).get("error")
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        failure = RequestFailed(type_named(error.get("type")), error["message"])
        if isinstance(error.get("traceback"), str):
            failure.traceback = error["traceback"]
    else:
        failure = _no_answer(function, str(status), response)
    failure.is_final = 400 <= status < 500 and status not in _PASSING
    if status in (429, 503):
        failure.retry_after = retry_after(response.headers)
    return failure


def _document(response: Response) -> dict[str, Any] | None:
    """Returns the body if it is a JSON object."""
    kind = response.content_type
    if response.is_cut or not (kind == "application/json" or kind.endswith("+json")):
        return None
    try:
        document = codec.decode(response.body.decode().strip())
    except (CorruptValue, UnicodeDecodeError):
        return None
    return document if isinstance(document, dict) else None


def _no_answer(function: str, what: str, response: Response) -> RequestFailed:
    text = response.body[: 4 * _SHOWN].decode(errors="replace").strip()[:_SHOWN]
    return RequestFailed(
        "RuntimeError", f"The URL of {function}() answered {what}" + (f": {text}" if text else ".")
    )
