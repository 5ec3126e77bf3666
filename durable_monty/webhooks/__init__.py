"""Answers that come over HTTP: `durable_monty/docs/how-to/webhooks.md`.

Off until `durable_monty.urls` is included in a project's URLs, or `create_app` is served.
"""

from durable_monty.webhooks.tokens import (
    CallToken,
    call_url,
    make_token,
    read_token,
    waiting_call_url,
)

__all__ = ["CallToken", "call_url", "make_token", "read_token", "waiting_call_url"]
