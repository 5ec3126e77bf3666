from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Unpack
from urllib.parse import quote

from durable_monty import conf
from durable_monty.exceptions import UrlMissing
from durable_monty.executors import signing
from durable_monty.executors.http import wire
from durable_monty.executors.http.allowed_hosts import AllowedHosts
from durable_monty.executors.http.replies import reply_of
from durable_monty.executors.requests.base import RequestExecutor, RequestOptions
from durable_monty.executors.requests.body import body_of
from durable_monty.executors.requests.exchange import Exchange, Reply
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.models import Call

# Bytes of the JSON around the result.
_ENVELOPE = 1024


class HttpExecutor(RequestExecutor):
    """POSTs each call as JSON to the URL of its function.

    The URL is that of `register_function(url=...)`, or of the option `urls` by the function's
    name, or `base_url` followed by the name. `AllowedHosts` explains `allowed_hosts`,
    `allow_http` and `allow_private`. With `secret`, requests are signed as `signing` describes; a
    list of secrets serves while one replaces another. `headers` adds headers to the requests to a
    host. `ca_file` holds certificates to trust instead of the public ones.
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
        ca_file: str | None = None,
        timeout: float = 60.0,
        **options: Unpack[RequestOptions],
    ) -> None:
        super().__init__(concurrency, timeout=timeout, **options)
        self._allowed = AllowedHosts(
            allowed_hosts, allow_http=allow_http, allow_private=allow_private
        )
        self._urls, self._base_url = dict(urls or {}), base_url
        for url in [*self._urls.values(), *([base_url] if base_url else [])]:
            self._allowed.target(url)
        self._secrets = [secret] if isinstance(secret, str) else list(secret or ())
        if self._secrets:
            signing.sign(b"", self._secrets, 0)  # raises ValueError for an empty secret
        self._headers = {host.lower(): dict(each) for host, each in (headers or {}).items()}
        self._ssl_context = wire.make_ssl_context(ca_file)

    def url_of(self, function: str) -> str:
        """Returns the URL of a function. Raises `UrlMissing`."""
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
