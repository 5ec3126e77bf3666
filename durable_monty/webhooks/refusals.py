"""Turns errors into responses: a status, and `{"error": {"code", "message", "path"}}`.

The messages tell the sender nothing about the call that the sender did not know.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest, JsonResponse

from durable_monty import exceptions
from durable_monty.exceptions import code_of
from durable_monty.models import CallStatus

logger = logging.getLogger("durable_monty")

# An error that is missing here is a bug of this package.
STATUS: Mapping[type[exceptions.DurableMontyError], int] = {
    exceptions.BodyNotJson: 400,
    exceptions.InvalidToken: 401,
    exceptions.InvalidSecret: 401,
    exceptions.JobNotFound: 404,
    exceptions.CallNotFound: 404,
    exceptions.ExecutionNotFound: 404,
    exceptions.CallSettled: 409,
    exceptions.LeaseLost: 410,
    exceptions.TokenExpired: 410,
    exceptions.BodyTooLarge: 413,
    exceptions.WrongContentType: 415,
    exceptions.InvalidValue: 422,
    exceptions.UnstorableValue: 422,
    exceptions.WrongResult: 422,
    exceptions.TooManyRefusals: 429,
}
_MESSAGES: Mapping[type[exceptions.DurableMontyError], str] = {
    exceptions.JobNotFound: "There is no such job.",
    exceptions.CallNotFound: "There is no such call.",
    exceptions.ExecutionNotFound: "There is no such call.",
    exceptions.CallSettled: "The call has another answer already. Nothing was changed.",
    exceptions.LeaseLost: "Another attempt has replaced this one. Nothing was changed.",
}
_WITHDRAWN = "Nobody waits for this call any more. Nothing was changed."
_MINUTE = 60


def refused(exc: exceptions.DurableMontyError) -> JsonResponse:
    """Returns the response for an error. Raises it again if `STATUS` does not have it."""
    if type(exc) not in STATUS:
        raise exc
    status, code = STATUS[type(exc)], code_of(type(exc))
    message = _MESSAGES.get(type(exc), str(exc))
    if isinstance(exc, exceptions.CallSettled) and exc.status == CallStatus.CANCELLED:
        status, code, message = 410, "call_withdrawn", _WITHDRAWN
    path = {"path": exc.path} if hasattr(exc, "path") else {}
    response = error(status, code, message, **path)
    if isinstance(exc, exceptions.InvalidSecret):
        response["WWW-Authenticate"] = "Bearer"
    if isinstance(exc, exceptions.TooManyRefusals):
        response["Retry-After"] = str(exc.seconds)
    return response


def error(status: int, code: str, message: str, **facts: Any) -> JsonResponse:
    """Returns an error response, and logs it."""
    logger.info(
        "webhook refused: %d %s", status, code, extra={"status_code": status, "code": code}
    )
    response = JsonResponse({"error": {"code": code, "message": message, **facts}}, status=status)
    # Django would log the path, which has the token.
    vars(response)["_has_been_logged"] = True
    return response


def count_refusal(request: HttpRequest, most: int | None) -> None:
    """Counts a wrong token or secret in Django's cache, for each address and minute.

    Raises `TooManyRefusals` above `most`. None counts nothing.
    """
    if most is None:
        return
    minute, second = divmod(int(time.time()), _MINUTE)
    key = f"durable_monty-webhook-{minute}-{request.META.get('REMOTE_ADDR', '')}"
    try:
        cache.add(key, 0, 2 * _MINUTE)
        count = cache.incr(key)
    except Exception as exc:  # noqa: BLE001  (of any cache; the request is refused anyway)
        logger.warning("refusals not counted: %s", exc, extra={"reason": str(exc)})
        return
    if count > most:
        raise exceptions.TooManyRefusals(_MINUTE - second)
