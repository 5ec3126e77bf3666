"""Reads the body of a webhook request: `{"status", "result", "error", "job_id"}`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest, UnreadablePostError

from durable_monty import codec, conf
from durable_monty.codec.limits import short
from durable_monty.exceptions import (
    BodyNotJson,
    BodyTooLarge,
    CorruptValue,
    InvalidValue,
    WrongContentType,
)
from durable_monty.operations.answer import Answer
from durable_monty.strict_json import load_body

# A body has a result or an error. This many bytes are enough for all that stands around a result,
# and for an error, whose message and traceback are cut to less.
_MARGIN = 64 * 1024
_UTF_8 = {"", "utf-8", "utf8", "us-ascii"}


@dataclass(frozen=True, slots=True)
class Posted:
    """Holds the answer that a request brings, and the id of the job that it answers, if given."""

    answer: Answer
    job_id: str | None = None


def read_body(request: HttpRequest) -> bytes:
    """Returns the body. Reads no more bytes than are allowed.

    Raises `WrongContentType`, `BodyTooLarge` and `BodyNotJson`.
    """
    kind = request.content_type or ""
    charset = (request.content_params or {}).get("charset", "").lower()
    if not (kind == "application/json" or kind.endswith("+json")) or charset not in _UTF_8:
        raise WrongContentType(request.META.get("CONTENT_TYPE", ""))
    limit = max_body_bytes()
    if is_too_long(request.META.get("CONTENT_LENGTH") or ""):
        raise BodyTooLarge(limit)
    try:
        body: bytes = request.read(limit + 1)
    except UnreadablePostError as exc:
        raise BodyNotJson("it did not arrive as a whole") from exc
    # The header may be missing or wrong.
    if len(body) > limit:
        raise BodyTooLarge(limit)
    return body


def read_posted(body: bytes) -> Posted:
    """Returns the answer in a body.

    Raises `BodyNotJson`, and `InvalidValue` or `UnstorableValue` with the path to the value.
    """
    try:
        document = load_body(body.decode())
    except UnicodeDecodeError as exc:
        raise BodyNotJson(str(exc).rstrip(".")) from exc
    if not isinstance(document, dict):
        raise InvalidValue("body", "must be a JSON object")
    job_id = document.get("job_id")
    if not (job_id is None or isinstance(job_id, str)):
        raise InvalidValue("job_id", "must be a text")
    if not _is_finished(document):
        return Posted(_read_error(document.get("error")), job_id)
    if "result" not in document:
        raise InvalidValue("result", "is missing; a function that gives nothing has null")
    given = document["result"]
    try:
        value = codec.decode(json.dumps(given))
    except RecursionError as exc:
        raise InvalidValue("result", "is nested too deep") from exc
    except CorruptValue as exc:
        path, tag = _find_wrong_tag(given)
        raise InvalidValue(path, f"has a wrong tag: {short(tag)}") from exc
    limit = conf.current().MAX_VALUE_BYTES
    return Posted(Answer(codec.encode(value, path="result", max_bytes=limit)), job_id)


def is_too_long(content_length: str) -> bool:
    """Returns whether a Content-Length header announces more than is allowed."""
    is_number = content_length.isascii() and content_length.isdecimal()
    # Python refuses to convert numbers of thousands of digits.
    return is_number and int(content_length[:18]) > max_body_bytes()


def max_body_bytes() -> int:
    """Returns the size limit of a body in bytes."""
    limit, upload = conf.current().MAX_VALUE_BYTES + _MARGIN, settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return limit if upload is None else min(limit, upload)


def _is_finished(document: dict[str, Any]) -> bool:
    """Returns whether a document has a result. Refuses one that could be read in both ways."""
    has_result, has_error = "result" in document, document.get("error") not in (None, "")
    status = document.get("status")
    if status is None and has_result != has_error:
        return has_result
    if status not in ("finished", "failed"):
        raise InvalidValue("status", "must be “finished” or “failed”")
    if status == "finished" and has_error:
        raise InvalidValue("error", "must not be there with the status “finished”")
    if status == "failed" and document.get("result") is not None:
        raise InvalidValue("result", "must not be there with the status “failed”")
    return bool(status == "finished")


def _find_wrong_tag(value: Any) -> tuple[str, Any]:
    """Returns the innermost part that cannot be decoded, and the path to it."""
    path = "result"
    while True:
        parts: Iterable[tuple[Any, Any]] = ()
        if isinstance(value, dict | list):
            parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            try:
                codec.decode(json.dumps(part))
            except CorruptValue:
                path, value = f"{path}[{key!r}]", part
                break
        else:
            return path, value


def _read_error(given: Any) -> Answer:
    """Returns the answer of an error: a text, or `{"message", "type", "traceback"}`."""
    if isinstance(given, str):
        return Answer.of_error("RuntimeError", given)
    if not isinstance(given, dict):
        raise InvalidValue("error", "must be a text, or an object with “message” and “type”")
    kind, traceback = given.get("type") or "RuntimeError", given.get("traceback") or ""
    for name, value in (
        ("message", given.get("message")),
        ("type", kind),
        ("traceback", traceback),
    ):
        if not isinstance(value, str):
            raise InvalidValue(f"error[{name!r}]", "must be a text")
    return Answer.of_error(kind, given["message"], traceback)
