"""What a worker holds in memory between two commits: live interpreters and inline calls."""

from durable_monty.engine.engine import TIDY_INTERVAL, Engine

__all__ = ["TIDY_INTERVAL", "Engine"]
