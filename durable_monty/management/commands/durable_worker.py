"""`runworker` under a name that no other app has (Channels has a `runworker` too)."""

from durable_monty.management.commands.runworker import Command

__all__ = ["Command"]
