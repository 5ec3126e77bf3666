"""Signatures: what receivers rely on."""

import hashlib
import hmac
import subprocess
import sys
from pathlib import Path

import pytest

import durable_monty
from durable_monty.executors import signing
from durable_monty.executors.signing import InvalidSignature, sign, verify

BODY = b'{"function": "pay"}'
SENT = 1_800_000_000


def headers(body=BODY, secrets="s3cret", sent=SENT):
    return {
        signing.TIMESTAMP: str(sent),
        signing.SIGNATURE: sign(body, secrets, sent),
    }


def refused(body=BODY, given=None, secrets="s3cret", now=SENT, **options):
    with pytest.raises(InvalidSignature) as raised:
        verify(body, headers() if given is None else given, secrets, now=now, **options)
    return str(raised.value)


def test_it_is_what_the_documents_say():
    mac = hmac.new(b"s3cret", b"1800000000." + BODY, hashlib.sha256).hexdigest()
    assert sign(BODY, "s3cret", SENT) == f"v1={mac}"


def test_a_request_that_was_signed():
    verify(BODY, headers(), "s3cret", now=SENT + 299)
    verify(BODY, {name.lower(): value for name, value in headers().items()}, "s3cret", now=SENT)


def test_another_body_secret_or_time():
    wrong = "The header Durable-Monty-Signature is missing, or of another secret or body."
    assert refused(BODY + b" ") == wrong
    assert refused(secrets="other") == wrong
    assert refused(given={**headers(), signing.TIMESTAMP: str(SENT + 1)}) == wrong
    assert refused(given={signing.TIMESTAMP: str(SENT)}) == wrong
    assert refused(given={**headers(), signing.SIGNATURE: "v1=, v2=abc,ä"}) == wrong


@pytest.mark.parametrize("timestamp", ["", "soon", "-5", "1e9", "٣", "9" * 13])
def test_what_is_no_time(timestamp):
    given = {**headers(), signing.TIMESTAMP: timestamp}
    assert refused(given=given) == (
        "The header Durable-Monty-Timestamp is missing, or no Unix time in seconds."
    )


def test_a_recorded_request():
    assert refused(now=SENT + 301) == "The request was signed 301 seconds ago."
    assert refused(now=SENT - 301) == "The request was signed -301 seconds ago."
    assert refused(now=SENT + 11, tolerance=10) == "The request was signed 11 seconds ago."


def test_a_secret_is_replaced():
    """In whatever order both sides get the new one."""
    for sender, receiver in [
        ("old", ["new", "old"]),
        (["new", "old"], "old"),
        (["new", "old"], "new"),
        ("new", ["new", "old"]),
    ]:
        verify(BODY, headers(secrets=sender), receiver, now=SENT)
    assert "another secret" in refused(given=headers(secrets="old"), secrets="new")


@pytest.mark.parametrize("secrets", ["", [], ["a", ""], [b"a"]])
def test_what_is_no_secret(secrets):
    with pytest.raises(ValueError, match="A secret must be a text that is not empty"):
        sign(BODY, secrets, SENT)
    with pytest.raises(ValueError, match="A secret must be a text that is not empty"):
        verify(BODY, headers(), secrets, now=SENT)


def test_receivers_need_no_django():
    code = f"""
import sys
from durable_monty.executors.signing import verify
verify({BODY!r}, {headers()!r}, "s3cret", now={SENT})
assert "django" not in sys.modules
"""
    env = {"PYTHONPATH": str(Path(durable_monty.__file__).parents[1])}
    subprocess.run([sys.executable, "-W", "error", "-c", code], env=env, check=True)
