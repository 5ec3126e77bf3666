"""Where requests may go: the guard against server-side request forgery."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from durable_monty.exceptions import UrlNotAllowed

_PORTS = {"https": 443, "http": 80}
_ENTRY = re.compile(
    r"(?P<host>\.?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Target(NamedTuple):
    """A URL in its parts. `host`: in lower case, without the brackets of IPv6. `path`: with the
    query."""

    url: str
    scheme: str
    host: str
    port: int
    path: str


@dataclass(frozen=True, slots=True)
class _Allowed:
    """`host` begins with a dot, if it stands for all hosts below it. Port None: the usual one."""

    host: str
    port: int | None

    def fits(self, target: Target) -> bool:
        port = _PORTS[target.scheme] if self.port is None else self.port
        if port != target.port:
            return False
        return target.host.endswith(self.host) if self.is_domain else target.host == self.host

    @property
    def is_domain(self) -> bool:
        return self.host.startswith(".")


class AllowedHosts:
    """The hosts of a list: `"api.example.com"`, `".example.com"` for all below it, with a port
    (`"api.example.com:8443"`) if it is not the usual one.

    Only https, unless `allow_http`. Hosts whose addresses are private, local or reserved are
    refused, unless `allow_private` and the list has just this host. Raises ValueError for what is
    no host.
    """

    def __init__(
        self, hosts: Iterable[str], *, allow_http: bool = False, allow_private: bool = False
    ) -> None:
        if isinstance(hosts, str):
            raise ValueError(f"allowed_hosts is the text {hosts!r}; it must be a list")
        self._allowed = tuple(_entry(host) for host in hosts)
        self._allow_http, self._allow_private = allow_http, allow_private

    def target(self, url: str) -> Target:
        """Returns the parts of a URL that is allowed. Raises `UrlNotAllowed`."""
        target = parse_url(url)
        if target.scheme == "http" and not self._allow_http:
            raise UrlNotAllowed(url, "it is not https. The option allow_http=True lets it pass.")
        if not any(allowed.fits(target) for allowed in self._allowed):
            place = target.host
            if target.port != _PORTS[target.scheme]:
                place += f":{target.port}"
            raise UrlNotAllowed(url, f"add {place!r} to the option allowed_hosts.")
        return target

    def addresses(self, target: Target) -> list[str]:
        """Returns the addresses of its host, to connect to these and no others: another look-up
        might give others. Raises `UrlNotAllowed`, and OSError if there are none."""
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        if self._may_be_private(target):
            return addresses
        for address in addresses:
            if not is_public(address):
                raise UrlNotAllowed(
                    target.url,
                    f"{target.host} has the address {address}, which is not public. If that is "
                    f"wanted, list {target.host!r} itself in allowed_hosts, with "
                    "allow_private=True.",
                )
        return addresses

    def _may_be_private(self, target: Target) -> bool:
        return self._allow_private and any(
            allowed.fits(target) for allowed in self._allowed if not allowed.is_domain
        )


def parse_url(url: str) -> Target:
    """Raises `UrlNotAllowed` for what is no plain URL of a web service."""
    if not isinstance(url, str) or re.search(r"[^\x21-\x7e]|\\", url):
        raise UrlNotAllowed(str(url), "it has characters that must be percent-encoded.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise UrlNotAllowed(url, f"it cannot be read ({exc}).") from exc
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in _PORTS or not host:
        raise UrlNotAllowed(url, "write https://, a host and a path.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise UrlNotAllowed(url, "it must have no user, password or fragment.")
    if "%" in host or port == 0:
        raise UrlNotAllowed(url, "its host or port is none.")
    port = _PORTS[parts.scheme] if port is None else port
    return Target(url, parts.scheme, host, port, _path(parts))


def is_public(address: str) -> bool:
    """Whether an address is one of the internet's, and leads to none that is not."""
    found: Address = ipaddress.ip_address(address.partition("%")[0])
    return all(each.is_global and not each.is_multicast for each in _leads_to(found))


def _leads_to(address: Address) -> list[Address]:
    """The address, and the IPv4 address within one of IPv6 that is translated to it."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    known = [each for each in inner if each is not None]
    # An address that is nothing but another one in a longer form is judged by that one.
    return list(known) if address.ipv4_mapped or address in _NAT64 else [address, *known]


def _entry(text: str) -> _Allowed:
    match = _ENTRY.fullmatch(text.lower()) if isinstance(text, str) else None
    port = int(match["port"]) if match and match["port"] else None
    if match is None or port == 0:
        raise ValueError(
            f"allowed_hosts has {text!r}; write 'api.example.com', '.example.com' or "
            "'api.example.com:8443'"
        )
    return _Allowed(match["host"].strip("[]"), port)


def _path(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
