"""Calls that are POSTed to a URL: `durable_monty/docs/how-to/http-functions.md`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from durable_monty import codec, conf
from durable_monty.exceptions import CorruptValue, UrlMissing
from durable_monty.executors import signing
from durable_monty.executors.call_body import body_of
from durable_monty.executors.http import wire
from durable_monty.executors.http.allowed_hosts import AllowedHosts
from durable_monty.executors.requests.base import Exchange, Reply, RequestExecutor
from durable_monty.executors.requests.failures import RequestFailed, type_named
from durable_monty.functions import FUNCTION_REGISTRY

if TYPE_CHECKING:
    from durable_monty.executors.http.wire import Response
    from durable_monty.models import Call

# What is around the result, in bytes.
_ENVELOPE = 1024
# Client errors that another attempt may not meet.
_PASSING = {408, 425, 429}
_SHOWN = 500


class HttpExecutor(RequestExecutor):
    """POSTs each call as JSON to the URL of its function.

    The URL is that of `register_function(url=...)`, or of the option `urls` by the function's
    name, or `base_url` with the name behind it. `allowed_hosts`, `allow_http`, `allow_private`:
    see `AllowedHosts`. `secret`, or a list of them while one is replaced: requests are signed,
    see `signing`. `headers`: by host, what its requests have besides. `timeout`: seconds that a
    request may take in all, for functions without `start_to_close`. `callback_base_url`: where
    this project's webhook can be reached, for services that answer 202 and call back.
    `ca_file`: certificates to trust instead of the public ones.
    """

    name = "http"

    def __init__(
        self,
        concurrency: int = 20,
        *,
        urls: Mapping[str, str] | None = None,
        base_url: str | None = None,
        allowed_hosts: Iterable[str] = (),
        allow_http: bool = False,
        allow_private: bool = False,
        secret: str | Iterable[str] | None = None,
        headers: Mapping[str, Mapping[str, str]] | None = None,
        timeout: float = 60.0,
        connect_timeout: float = 5.0,
        callback_base_url: str | None = None,
        callback_timeout: float = 86_400.0,
        ca_file: str | None = None,
    ) -> None:
        super().__init__(
            concurrency,
            timeout=timeout,
            connect_timeout=connect_timeout,
            callback_base_url=callback_base_url,
            callback_timeout=callback_timeout,
        )
        self._allowed = AllowedHosts(
            allowed_hosts, allow_http=allow_http, allow_private=allow_private
        )
        self._urls, self._base_url = dict(urls or {}), base_url
        for url in [*self._urls.values(), *([base_url] if base_url else [])]:
            self._allowed.target(url)
        self._secrets = [secret] if isinstance(secret, str) else list(secret or ())
        if self._secrets:
            signing.sign(b"", self._secrets, 0)  # raises ValueError for what is no secret
        self._headers = {host.lower(): dict(each) for host, each in (headers or {}).items()}
        self._ssl_context = wire.trusting(ca_file)

    def url_of(self, function: str) -> str:
        """Raises `UrlMissing`."""
        entry = FUNCTION_REGISTRY.get(function)
        if entry is not None and entry.url is not None:
            return entry.url
        if function in self._urls:
            return self._urls[function]
        if self._base_url is None:
            raise UrlMissing(function)
        return f"{self._base_url.rstrip('/')}/{quote(function)}"

    def request(self, call: Call, job_id: str, exchange: Exchange) -> Reply:
        target = self._allowed.target(self.url_of(call.function))
        body = json.dumps(body_of(call, job_id, self.callback_url(call))).encode()
        headers = {"Idempotency-Key": call.idempotency_key, **self._headers.get(target.host, {})}
        if self._secrets:
            now = int(time.time())
            headers |= {
                signing.TIMESTAMP: str(now),
                signing.SIGNATURE: signing.sign(body, self._secrets, now),
            }
        response = wire.post(
            target,
            body,
            headers,
            allowed=self._allowed,
            exchange=exchange,
            connect_timeout=self.connect_timeout,
            limit=conf.current().MAX_VALUE_BYTES + _ENVELOPE,
            ssl_context=self._ssl_context,
        )
        return reply_of(response, call.function)


def reply_of(response: Response, function: str) -> Reply:
    """Raises `RequestFailed` for every response that is no answer."""
    if response.status == 202:
        return Reply(accepted=True)
    if response.status == 200:
        return Reply(_result(response, function))
    raise _error(response, function)


def _result(response: Response, function: str) -> Any:
    if response.is_cut:
        limit = conf.current().MAX_VALUE_BYTES
        raise RequestFailed(
            "TypeError",
            f"{function}() returned what cannot be stored: its response has more than {limit:,} "
            "bytes (DURABLE_MONTY['MAX_VALUE_BYTES']).",
            is_final=True,
        )
    document = _document(response)
    if document is None:
        kind = response.content_type or "no content type"
        raise _no_answer(function, f"200 with {kind}, not with JSON", response)
    if "result" not in document:
        raise _no_answer(function, "200 with JSON that has no 'result'", response)
    return document["result"]


def _error(response: Response, function: str) -> RequestFailed:
    status = response.status
    if 300 <= status < 400:
        where = response.headers.get("location", "nowhere")[:200]
        return RequestFailed(
            "RuntimeError",
            f"The URL of {function}() answered {status}, a redirect to {where}. Redirects are not "
            "followed: register the URL that it leads to.",
            is_final=True,
        )
    is_final = 400 <= status < 500 and status not in _PASSING
    retry_after = _retry_after(response) if status in (429, 503) else None
    error = (_document(response) or {}).get("error")
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        traceback = error.get("traceback")
        return RequestFailed(
            type_named(error.get("type")),
            error["message"],
            traceback=traceback if isinstance(traceback, str) else "",
            is_final=is_final,
            retry_after=retry_after,
        )
    failure = _no_answer(function, str(status), response)
    failure.is_final, failure.retry_after = is_final, retry_after
    return failure


def _document(response: Response) -> dict[str, Any] | None:
    """The body, if it is a JSON object."""
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


def _retry_after(response: Response) -> float | None:
    """Seconds; the header has these, or a date."""
    text = response.headers.get("retry-after", "")
    if text.isascii() and text.isdecimal():
        return float(text[:10])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
