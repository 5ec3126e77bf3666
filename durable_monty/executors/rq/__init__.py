"""The executor that puts calls into queues of RQ: docs/how-to/rq.md."""

from durable_monty.executors.rq.executor import RQExecutor

__all__ = ["RQExecutor"]
