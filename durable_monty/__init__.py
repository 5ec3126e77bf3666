"""Durable workflows for Django: plain async Python that survives crashes and deploys.

Names are imported when they are first used, so that the package can stand in INSTALLED_APPS
before Django's models are ready.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durable_monty.asgi import create_app
    from durable_monty.awaitables import awaitable
    from durable_monty.context import current_call
    from durable_monty.exceptions import NonRetryable, RetryAfter
    from durable_monty.executors.base import Executor
    from durable_monty.executors.django_q import DjangoQExecutor
    from durable_monty.executors.inline import InlineExecutor
    from durable_monty.executors.local import LocalExecutor
    from durable_monty.functions import FUNCTION_REGISTRY, register_function
    from durable_monty.models import Call, CallStatus, Execution, ExecutionStatus
    from durable_monty.policy import Retry
    from durable_monty.service import OrchestratorService
    from durable_monty.worker import Worker
    from durable_monty.workflows.registry import WORKFLOW_REGISTRY
    from durable_monty.workflows.workflow import Workflow, workflow

__version__ = "0.1.0"

_PLACES = {
    "Call": "models",
    "CallStatus": "models",
    "DjangoQExecutor": "executors.django_q",
    "Execution": "models",
    "ExecutionStatus": "models",
    "Executor": "executors.base",
    "FUNCTION_REGISTRY": "functions",
    "InlineExecutor": "executors.inline",
    "LocalExecutor": "executors.local",
    "NonRetryable": "exceptions",
    "OrchestratorService": "service",
    "Retry": "policy",
    "RetryAfter": "exceptions",
    "WORKFLOW_REGISTRY": "workflows.registry",
    "Worker": "worker",
    "Workflow": "workflows.workflow",
    "awaitable": "awaitables",
    "create_app": "asgi",
    "current_call": "context",
    "register_function": "functions",
    "workflow": "workflows.workflow",
}

__all__ = [
    "FUNCTION_REGISTRY",
    "WORKFLOW_REGISTRY",
    "Call",
    "CallStatus",
    "DjangoQExecutor",
    "Execution",
    "ExecutionStatus",
    "Executor",
    "InlineExecutor",
    "LocalExecutor",
    "NonRetryable",
    "OrchestratorService",
    "Retry",
    "RetryAfter",
    "Worker",
    "Workflow",
    "__version__",
    "awaitable",
    "create_app",
    "current_call",
    "register_function",
    "workflow",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
