"""What a worker holds in memory between two commits: live interpreters and young calls."""

from durable_monty.engine.engine import Engine

__all__ = ["Engine"]
