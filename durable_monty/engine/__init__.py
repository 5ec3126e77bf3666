"""What a worker holds in memory between two commits: live interpreters and inline calls."""

from durable_monty.engine.engine import Engine
from durable_monty.engine.turns import TURN_THREADS

__all__ = ["TURN_THREADS", "Engine"]
