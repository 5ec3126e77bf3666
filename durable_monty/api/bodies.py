"""Checks and parses the bodies of requests."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser

from durable_monty import conf
from durable_monty.exceptions import BodyTooLarge, WrongContentType
from durable_monty.strict_json import load_body

# Bytes for all other fields of a request.
_MARGIN = 64 * 1024
_UTF_8 = {"", "utf-8", "utf8", "us-ascii"}


def check_body(request: HttpRequest) -> None:
    """Raises `WrongContentType` and `BodyTooLarge` before anything is parsed."""
    if request.method not in ("POST", "PUT", "PATCH"):
        return
    settings = conf.current()
    limit = settings.MAX_SOURCE_BYTES + settings.MAX_VALUE_BYTES + _MARGIN
    # Too many bytes are refused before they are read; a chunked body only after.
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    if length > limit:
        raise BodyTooLarge(limit)
    if not length and "Transfer-Encoding" not in request.headers:
        return
    charset = (request.content_params or {}).get("charset", "").lower()
    if request.content_type != "application/json" or charset not in _UTF_8:
        raise WrongContentType(request.META.get("CONTENT_TYPE", ""))
    if len(request.body) > limit:
        raise BodyTooLarge(limit)


class StrictParser(Parser):
    """Parses strict JSON, without NaN and infinite numbers, which the journal cannot keep."""

    def parse_body(self, request: HttpRequest) -> Any:
        return load_body(request.body)
