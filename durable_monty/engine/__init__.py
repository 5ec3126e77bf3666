"""What a worker holds in memory between two commits: live interpreters and young calls."""

from durable_monty.engine.engine import TURN_THREADS, Engine

__all__ = ["TURN_THREADS", "Engine"]
