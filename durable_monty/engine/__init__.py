"""What a worker holds in memory between two commits: live interpreters and inline calls."""

from durable_monty.engine.engine import Engine

__all__ = ["Engine"]
