"""What a webhook's request says: `{"status", "result", "error", "job_id"}`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest, UnreadablePostError

from durable_monty import codec, conf
from durable_monty.codec.text import short
from durable_monty.exceptions import (
    BodyNotJson,
    BodyTooLarge,
    CorruptValue,
    InvalidValue,
    WrongContentType,
)
from durable_monty.operations.answer import Answer
from durable_monty.strict_json import load_body

# Bytes around a result; an error's message and traceback are not longer either.
_MARGIN = 64 * 1024
_UTF_8 = {"", "utf-8", "utf8", "us-ascii"}


@dataclass(frozen=True, slots=True)
class Posted:
    answer: Answer
    job_id: str | None = None


def read_body(request: HttpRequest) -> bytes:
    """Reads no more than is allowed. Raises `WrongContentType`, `BodyTooLarge`, `BodyNotJson`."""
    kind = request.content_type or ""
    charset = (request.content_params or {}).get("charset", "").lower()
    if not (kind == "application/json" or kind.endswith("+json")) or charset not in _UTF_8:
        raise WrongContentType(request.META.get("CONTENT_TYPE", ""))
    limit = longest()
    if is_too_long(request.META.get("CONTENT_LENGTH") or ""):
        raise BodyTooLarge(limit)
    try:
        body: bytes = request.read(limit + 1)
    except UnreadablePostError as exc:
        raise BodyNotJson("it did not arrive as a whole") from exc
    if len(body) > limit:
        raise BodyTooLarge(limit)
    return body


def read_posted(body: bytes) -> Posted:
    """Raises `BodyNotJson`; `InvalidValue` and `UnstorableValue`, with the path to the value."""
    document = _loaded(body)
    if not isinstance(document, dict):
        raise InvalidValue("body", "must be a JSON object")
    job_id = document.get("job_id")
    if not (job_id is None or isinstance(job_id, str)):
        raise InvalidValue("job_id", "must be a text")
    if _status(document) == "finished":
        return Posted(_result(document), job_id)
    return Posted(_error(document.get("error")), job_id)


def is_too_long(content_length: str) -> bool:
    """Whether a header says so."""
    is_number = content_length.isascii() and content_length.isdecimal()
    return is_number and int(content_length[:18]) > longest()


def longest() -> int:
    """Returns the most bytes that a body may have."""
    limit, upload = conf.current().MAX_VALUE_BYTES + _MARGIN, settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return limit if upload is None else min(limit, upload)


def _loaded(body: bytes) -> Any:
    try:
        text = body.decode()
    except UnicodeDecodeError as exc:
        raise BodyNotJson(str(exc).rstrip(".")) from exc
    return load_body(text)


def _status(document: dict[str, Any]) -> str:
    """As it is given, or as the other keys say. It must not be open to both."""
    has_result, has_error = "result" in document, document.get("error") not in (None, "")
    status = document.get("status")
    if status is None and has_result != has_error:
        return "finished" if has_result else "failed"
    if status not in ("finished", "failed"):
        raise InvalidValue("status", "must be “finished” or “failed”")
    if status == "finished" and has_error:
        raise InvalidValue("error", "must not be there with the status “finished”")
    if status == "failed" and document.get("result") is not None:
        raise InvalidValue("result", "must not be there with the status “failed”")
    return str(status)


def _result(document: dict[str, Any]) -> Answer:
    if "result" not in document:
        raise InvalidValue("result", "is missing; a function that gives nothing has null")
    given = document["result"]
    try:
        value = codec.decode(json.dumps(given))
    except RecursionError as exc:
        raise InvalidValue("result", "is nested too deep") from exc
    except CorruptValue as exc:
        path, tag = _wrong_tag(given)
        raise InvalidValue(path, f"has a wrong tag: {short(tag)}") from exc
    limit = conf.current().MAX_VALUE_BYTES
    return Answer(codec.encode(value, path="result", max_bytes=limit))


def _wrong_tag(value: Any) -> tuple[str, Any]:
    """The path to the innermost part that cannot be read, and the part."""
    path = "result"
    while True:
        found = next(((key, part) for key, part in _parts(value) if not _is_readable(part)), None)
        if found is None:
            return path, value
        key, value = found
        path += f"[{key!r}]"


def _parts(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def _is_readable(value: Any) -> bool:
    try:
        codec.decode(json.dumps(value))
    except CorruptValue:
        return False
    return True


def _error(given: Any) -> Answer:
    """`given`: a text, or `{"message", "type", "traceback"}`."""
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
