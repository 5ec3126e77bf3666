"""One POST, and the response to it: what a stranger's server may and may not do to a worker."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import httpcore

if TYPE_CHECKING:
    from durable_monty.executors.http.allowed_hosts import AllowedHosts, Target
    from durable_monty.executors.requests.base import Exchange


class Response(NamedTuple):
    """`headers`: by their names in lower case. `body` ends after `limit` bytes, if `is_cut`."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut: bool

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def trusting(ca_file: str | None) -> ssl.SSLContext:
    """Returns what checks certificates: by those of a file, or by the public ones."""
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
    """Sends `body` and reads at most `limit` bytes of what comes back.

    On a connection of its own: one that was kept open may be closed by the server just when it is
    used again, and nobody would know whether the call was made. Redirects are not followed, and
    proxies of the environment are not used. Raises `UrlNotAllowed`, ConnectionError, TimeoutError.
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
    try:
        with (
            _CheckedBackend(target, allowed, exchange) as backend,
            httpcore.HTTPConnection(
                origin, ssl_context=ssl_context, network_backend=backend
            ) as connection,
            connection.stream(
                "POST",
                url,
                headers=_headers(target, body, headers),
                content=body,
                extensions={"timeout": timeouts},
            ) as response,
        ):
            text, is_cut = _read(response.iter_stream(), limit)
            found = {
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in response.headers
            }
            return Response(response.status, found, text, is_cut)
    except httpcore.TimeoutException as exc:
        raise TimeoutError(f"{target.host} did not answer in time ({_name(exc)}).") from exc
    except (httpcore.NetworkError, httpcore.ProtocolError) as exc:
        raise ConnectionError(f"The request to {target.host} failed: {_name(exc)}.") from exc


def _headers(target: Target, body: bytes, headers: Mapping[str, str]) -> list[tuple[str, str]]:
    host = f"[{target.host}]" if ":" in target.host else target.host
    if target.port != {"https": 443, "http": 80}[target.scheme]:
        host += f":{target.port}"
    return [
        ("Host", host),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),  # a compressed body could be a bomb
        ("Connection", "close"),
        *headers.items(),
    ]


def _read(chunks: Iterable[bytes], limit: int) -> tuple[bytes, bool]:
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > limit:
            return bytes(body[:limit]), True
    return bytes(body), False


def _name(exc: Exception) -> str:
    return str(exc) or type(exc).__name__


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects to the addresses that were checked, and lets the request be cut off. TLS checks the
    certificate against the host's name all the same."""

    def __init__(self, target: Target, allowed: AllowedHosts, exchange: Exchange) -> None:
        self._target, self._allowed, self._exchange = target, allowed, exchange
        self._plain = httpcore.SyncBackend()
        self._twin: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._twin is not None:
            self._twin.close()

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
                stream = self._plain.connect_tcp(address, port, timeout=seconds)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
                continue
            # A second socket object of the connection: TLS takes the first one away.
            self._twin = stream.get_extra_info("socket").dup()
            self._exchange.on_cut(self._shut)
            return stream
        raise failure

    def _shut(self) -> None:
        """Ends what the request's thread waits for."""
        if self._twin is not None:
            with suppress(OSError):  # it is closed already
                self._twin.shutdown(socket.SHUT_RDWR)
