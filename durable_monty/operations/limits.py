"""The limits of the sandbox, from the settings."""

from __future__ import annotations

from durable_monty import conf
from durable_monty.sandbox import Limits


def limits_of_settings() -> Limits:
    """Returns the limits of an execution that has used nothing up yet."""
    settings = conf.current()
    return Limits(
        memory=settings.MAX_MEMORY,
        turn_seconds=settings.MAX_TURN_SECONDS,
        calls=settings.MAX_CALLS,
        log_bytes=settings.MAX_LOG_BYTES,
        value_bytes=settings.MAX_VALUE_BYTES,
        processes=settings.SANDBOX_PROCESSES,
    )
