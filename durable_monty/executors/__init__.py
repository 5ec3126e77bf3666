from durable_monty.executors.base import Executor, JobStatus
from durable_monty.executors.local import LocalExecutor

__all__ = ["Executor", "JobStatus", "LocalExecutor"]
