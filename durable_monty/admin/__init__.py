"""The admin: it shows everything, changes nothing but by an operation, and deletes nothing."""

from durable_monty.admin.api_key import ApiKeyAdmin
from durable_monty.admin.call.admin import CallAdmin
from durable_monty.admin.execution.admin import ExecutionAdmin
from durable_monty.admin.program import ProgramAdmin
from durable_monty.admin.snapshot import SnapshotAdmin
from durable_monty.admin.worker_process import WorkerProcessAdmin

__all__ = [
    "ApiKeyAdmin",
    "CallAdmin",
    "ExecutionAdmin",
    "ProgramAdmin",
    "SnapshotAdmin",
    "WorkerProcessAdmin",
]
