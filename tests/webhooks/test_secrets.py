"""What `manage.py check` says of the secrets of executors."""

import pytest

from durable_monty.executors.checks import check_secrets


@pytest.mark.parametrize("secret", ["short", b"bytes" * 9, None, 3, [], ["x" * 30, "short"]])
def test_a_secret_that_cannot_be_used(durable_settings, secret):
    durable_settings(EXECUTORS={"rq": {"webhook_secret": secret}, "celery": {}})
    (error,) = check_secrets(None)
    assert error.id == "durable_monty.E010"
    assert error.msg == (
        "DURABLE_MONTY['EXECUTORS']['rq']['webhook_secret'] must be a text of at least 20 "
        "characters, or a list of such."
    )
    assert "short" not in error.msg


@pytest.mark.parametrize("secret", ["x" * 20, ["x" * 20, "y" * 30], ("x" * 20,)])
def test_a_secret(durable_settings, secret):
    durable_settings(EXECUTORS={"rq": {"webhook_secret": secret}})
    assert check_secrets(None) == []


@pytest.mark.parametrize("executors", [None, ["rq"], {"rq": None}])
def test_what_other_checks_speak_of(durable_settings, executors):
    durable_settings(EXECUTORS=executors)
    assert check_secrets(None) == []
