"""Sends one POST and reads its response. The server is not trusted: it can neither hold a worker
for longer than the request may take, nor fill its memory, nor lead it to another address."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

import httpcore

from durable_monty.executors.http.allowed_hosts import PORTS, AllowedHosts, Target
from durable_monty.executors.requests.exchange import Exchange


class Response(NamedTuple):
    """A response. The names of `headers` are in lower case. If it `is_cut`, `body` has only the
    first `limit` bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut: bool

    @classmethod
    def read(cls, response: httpcore.Response, limit: int) -> Response:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in response.headers
        }
        body = bytearray()
        for chunk in response.iter_stream():
            body += chunk
            if len(body) > limit:
                break
        return cls(response.status, headers, bytes(body[:limit]), len(body) > limit)

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def make_ssl_context(ca_file: str | None) -> ssl.SSLContext:
    """Returns a context that trusts the certificates of a file, or else the public ones."""
    if ca_file is not None:
        return ssl.create_default_context(cafile=ca_file)
    return httpcore.default_ssl_context()


def post(
    target: Target,
    body: bytes,
    headers: Mapping[str, str],
    *,
    allowed: AllowedHosts,
    exchange: Exchange,
    connect_timeout: float,
    limit: int,
    ssl_context: ssl.SSLContext,
) -> Response:
    """Sends `body` and reads at most `limit` bytes of the response's body.

    Redirects are not followed, and proxies of the environment are not used. Raises
    `UrlNotAllowed`, ConnectionError or TimeoutError.
    """
    origin = httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port)
    seconds = exchange.left
    timeouts = {
        "connect": min(connect_timeout, seconds),
        "read": seconds,
        "write": seconds,
        "pool": seconds,
    }
    url = httpcore.URL(
        scheme=origin.scheme, host=origin.host, port=origin.port, target=target.path.encode()
    )
    host = f"[{target.host}]" if ":" in target.host else target.host
    if target.port != PORTS[target.scheme]:
        host += f":{target.port}"
    sent = [
        ("Host", host),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),  # a compressed body could be a bomb
        # A kept connection may be closed by the server just when it is used again. Then nobody
        # would know whether the call was made.
        ("Connection", "close"),
        *headers.items(),
    ]
    try:
        with (
            _CheckedBackend(target, allowed, exchange) as backend,
            httpcore.HTTPConnection(
                origin, ssl_context=ssl_context, network_backend=backend
            ) as connection,
            connection.stream(
                "POST", url, headers=sent, content=body, extensions={"timeout": timeouts}
            ) as response,
        ):
            return Response.read(response, limit)
    except httpcore.TimeoutException as exc:
        why = str(exc) or type(exc).__name__
        raise TimeoutError(f"{target.host} did not answer in time ({why}).") from exc
    except (httpcore.NetworkError, httpcore.ProtocolError) as exc:
        why = str(exc) or type(exc).__name__
        raise ConnectionError(f"The request to {target.host} failed: {why}.") from exc


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects only to addresses that were checked, and lets the request be cut off. TLS still
    checks the certificate against the host's name."""

    def __init__(self, target: Target, allowed: AllowedHosts, exchange: Exchange) -> None:
        self._target, self._allowed, self._exchange = target, allowed, exchange
        self._backend = httpcore.SyncBackend()
        self._duplicate: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._duplicate is not None:
            self._duplicate.close()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = self._allowed.addresses(self._target)
        except OSError as exc:
            raise httpcore.ConnectError(f"its address is not known ({exc})") from exc
        failure: Exception = httpcore.ConnectError("it has no address")
        for address in addresses:
            seconds = min(timeout or self._exchange.left, self._exchange.left)
            try:
                stream = self._backend.connect_tcp(address, port, timeout=seconds)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
                continue
            # TLS takes the first socket object of the connection away.
            self._duplicate = stream.get_extra_info("socket").dup()
            self._exchange.attach(self._duplicate)
            return stream
        raise failure
