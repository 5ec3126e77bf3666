"""The executor that runs calls in RQ."""

from durable_monty.executors.rq.executor import RQExecutor

__all__ = ["RQExecutor"]
