from durable_monty.kinds import CallKind
from durable_monty.models.api_key import ApiKey, KeyScope
from durable_monty.models.attempt import Attempt, AttemptOutcome
from durable_monty.models.call import Call, CallStatus
from durable_monty.models.execution import Execution, ExecutionStatus
from durable_monty.models.program import Program
from durable_monty.models.snapshot import Snapshot
from durable_monty.models.worker_process import WorkerProcess
from durable_monty.models.workflow_version import WorkflowVersion

__all__ = [
    "ApiKey",
    "Attempt",
    "AttemptOutcome",
    "Call",
    "CallKind",
    "CallStatus",
    "Execution",
    "ExecutionStatus",
    "KeyScope",
    "Program",
    "Snapshot",
    "WorkerProcess",
    "WorkflowVersion",
]
