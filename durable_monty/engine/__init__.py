"""The part of a worker that runs turns: it keeps interpreters and inline calls in memory."""

from durable_monty.engine.engine import TIDY_INTERVAL, Engine

__all__ = ["TIDY_INTERVAL", "Engine"]
