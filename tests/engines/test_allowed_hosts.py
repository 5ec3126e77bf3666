"""The guard against server-side request forgery."""

import socket

import pytest

from durable_monty.exceptions import UrlNotAllowed
from durable_monty.executors.http.allowed_hosts import AllowedHosts, is_public


def refusal(url, hosts=("api.example.com",), **options):
    with pytest.raises(UrlNotAllowed) as raised:
        AllowedHosts(hosts, **options).target(url)
    assert raised.value.url == url
    return raised.value.why


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("api.example.com", "https://api.example.com/pay?x=1"),
        ("API.example.com", "https://Api.Example.Com./"),
        ("api.example.com", "https://api.example.com:443/"),
        ("api.example.com:8443", "https://api.example.com:8443/"),
        (".example.com", "https://a.b.example.com/"),
        (".example.com:8443", "https://a.example.com:8443"),
        ("[::1]", "https://[::1]/"),
        ("[::1]:8000", "https://[::1]:8000/"),
        ("127.0.0.1:8000", "https://127.0.0.1:8000/"),
    ],
)
def test_allowed(host, url):
    assert AllowedHosts([host]).target(url).url == url


def test_parts():
    target = AllowedHosts([".example.com"]).target("https://A.example.com/x/y?z=1")
    assert target[1:] == ("https", "a.example.com", 443, "/x/y?z=1")


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.com/",
        "https://example.com/",
        "https://api.example.com.evil.com/",
        "https://xapi.example.com/",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/",
    ],
)
def test_hosts_that_are_not_listed(url):
    host = url.split("/")[2]
    assert refusal(url) == f"add {host!r} to the option allowed_hosts."


def test_ports_that_are_not_listed():
    assert refusal("https://api.example.com:22/") == (
        "add 'api.example.com:22' to the option allowed_hosts."
    )
    assert "'api.example.com'" in refusal("https://api.example.com/", ["api.example.com:8443"])
    assert "'example.com'" in refusal("https://example.com/", [".example.com"])


def test_http():
    assert refusal("http://api.example.com/") == (
        "it is not https. The option allow_http=True lets it pass."
    )
    allowed = AllowedHosts(["api.example.com"], allow_http=True)
    assert allowed.target("http://api.example.com/").port == 80
    with pytest.raises(UrlNotAllowed, match="'api.example.com:443'"):
        allowed.target("http://api.example.com:443/")


@pytest.mark.parametrize(
    "url",
    [
        "", "pay", "//api.example.com/", "ftp://api.example.com/", "file:///etc/passwd",
        "https://", "https:///x", "https://user@api.example.com/", "https://:p@api.example.com/",
        "https://api.example.com/#x", "https://api.example.com:x/", "https://api.example.com:0/",
        "https://api.example.com:99999/", "https://[::1/", "https://[fe80::1%25eth0]/",
        "https://api.example.com\\@evil.com/", "https://api.example.com/\r\nHost: evil.com",
        "https://api.example.com/ x", "https://äpi.example.com/", "https://evil.com@api.example.com/",
    ],
)  # fmt: skip
def test_what_is_no_plain_url(url):
    assert "allowed_hosts" not in refusal(url)


@pytest.mark.parametrize(
    "host", ["", ".", "https://api.example.com", "a b", "api.example.com:", "a:0", "*", 5, "::1"]
)
def test_what_is_no_host(host):
    with pytest.raises(ValueError, match="allowed_hosts has"):
        AllowedHosts([host])


def test_a_text_is_no_list():
    with pytest.raises(ValueError, match="it must be a list"):
        AllowedHosts("api.example.com")


# --- addresses ---


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0",
        "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses(address):
    assert is_public(address)


@pytest.fixture
def name_server(monkeypatch):
    """Gives these addresses to whatever host is asked for."""

    def answer(*addresses):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 443)) for each in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: found)

    return answer


def addresses(hosts, url="https://api.example.com/", **options):
    allowed = AllowedHosts(hosts, **options)
    return allowed.addresses(allowed.target(url))


def test_all_addresses_must_be_public(name_server):
    name_server("8.8.8.8", "8.8.4.4", "8.8.8.8")
    assert addresses(["api.example.com"]) == ["8.8.8.8", "8.8.4.4"]
    name_server("8.8.8.8", "10.0.0.1")
    with pytest.raises(UrlNotAllowed) as raised:
        addresses(["api.example.com"])
    assert raised.value.why == (
        "api.example.com has the address 10.0.0.1, which is not public. If that is wanted, list "
        "'api.example.com' itself in allowed_hosts, with allow_private=True."
    )


def test_private_addresses_of_a_host_that_is_listed_itself(name_server):
    name_server("10.0.0.1")
    assert addresses(["api.example.com"], allow_private=True) == ["10.0.0.1"]
    with pytest.raises(UrlNotAllowed, match="not public"):
        addresses([".example.com"], allow_private=True)


def test_a_number_is_an_address_too():
    """As the system's resolver reads it."""
    with pytest.raises(UrlNotAllowed, match=r"has the address 127\.0\.0\.1, which is not public"):
        addresses(["2130706433"], "https://2130706433/")
