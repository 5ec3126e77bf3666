"""Decides where requests may go, as a guard against server-side request forgery."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from durable_monty.exceptions import UrlNotAllowed

PORTS = {"https": 443, "http": 80}
_ENTRY = re.compile(
    r"(?P<host>\.?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Target(NamedTuple):
    """The parts of a URL. `host` is in lower case and has no brackets, `path` has the query."""

    url: str
    scheme: str
    host: str
    port: int
    path: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """An allowed host, or a domain: then `host` begins with a dot and allows all hosts below it.
    Without `port` only the scheme's default port is allowed."""

    host: str
    port: int | None

    @property
    def is_domain(self) -> bool:
        return self.host.startswith(".")

    def fits(self, target: Target) -> bool:
        port = PORTS[target.scheme] if self.port is None else self.port
        if port != target.port:
            return False
        return target.host.endswith(self.host) if self.is_domain else target.host == self.host


class AllowedHosts:
    """A list of hosts: `"api.example.com"`, or `".example.com"` for all hosts below it. An entry
    with a port, `"api.example.com:8443"`, allows that one instead of the default.

    Only https is allowed, unless `allow_http` is set. Hosts whose addresses are private, local or
    reserved are refused, unless `allow_private` is set and the list has exactly this host. Raises
    ValueError for an entry that is not a host.
    """

    def __init__(
        self, hosts: Iterable[str], *, allow_http: bool = False, allow_private: bool = False
    ) -> None:
        if isinstance(hosts, str):
            raise ValueError(f"allowed_hosts is the text {hosts!r}; it must be a list")
        self._entries: list[_Entry] = []
        for text in hosts:
            match = _ENTRY.fullmatch(text.lower()) if isinstance(text, str) else None
            port = int(match["port"]) if match and match["port"] else None
            if match is None or port == 0:
                raise ValueError(
                    f"allowed_hosts has {text!r}; write 'api.example.com', '.example.com' or "
                    "'api.example.com:8443'"
                )
            self._entries.append(_Entry(match["host"].strip("[]"), port))
        self._allow_http, self._allow_private = allow_http, allow_private

    def target(self, url: str) -> Target:
        """Returns the parts of an allowed URL. Raises `UrlNotAllowed`."""
        target = parse_url(url)
        if target.scheme == "http" and not self._allow_http:
            raise UrlNotAllowed(url, "it is not https. The option allow_http=True lets it pass.")
        if not any(entry.fits(target) for entry in self._entries):
            place = target.host
            if target.port != PORTS[target.scheme]:
                place += f":{target.port}"
            raise UrlNotAllowed(url, f"add {place!r} to the option allowed_hosts.")
        return target

    def addresses(self, target: Target) -> list[str]:
        """Returns the checked addresses of a host. Raises `UrlNotAllowed`, or OSError if the host
        has no address.

        Connect to these addresses only: a second look-up of the name might give others.
        """
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        # A domain's entry does not vouch for each host below it: its DNS may name any address.
        if self._allow_private and any(
            entry.fits(target) for entry in self._entries if not entry.is_domain
        ):
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


def parse_url(url: str) -> Target:
    """Returns the parts of a URL. Raises `UrlNotAllowed` if it is not the URL of a web service."""
    # urlsplit drops some of these characters, and reads a backslash otherwise than browsers do.
    if not isinstance(url, str) or re.search(r"[^\x21-\x7e]|\\", url):
        raise UrlNotAllowed(str(url), "it has characters that must be percent-encoded.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise UrlNotAllowed(url, f"it cannot be read ({exc}).") from exc
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in PORTS or not host:
        raise UrlNotAllowed(url, "write https://, a host and a path.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise UrlNotAllowed(url, "it must have no user, password or fragment.")
    if "%" in host or port == 0:
        raise UrlNotAllowed(url, "its host or port is not valid.")
    port = PORTS[parts.scheme] if port is None else port
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(url, parts.scheme, host, port, path)


def is_public(address: str) -> bool:
    """Returns whether an address is public, and so are the IPv4 addresses that it embeds."""
    found = ipaddress.ip_address(address.partition("%")[0])
    judged: list[ipaddress.IPv4Address | ipaddress.IPv6Address | None] = [found]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            # These two are only a longer form of the IPv4 address, which decides alone.
            judged = [found.ipv4_mapped]
        elif found in _NAT64:
            judged = [ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)]
        judged += [found.sixtofour, *(found.teredo or ())]
    return all(each is None or (each.is_global and not each.is_multicast) for each in judged)
