"""Receives answers over HTTP.

It is off until a project includes `durable_monty.urls` in its URLs or serves `create_app`.
"""

from durable_monty.webhooks.tokens import (
    CallToken,
    call_url,
    make_token,
    read_token,
    waiting_call_url,
)

__all__ = ["CallToken", "call_url", "make_token", "read_token", "waiting_call_url"]
