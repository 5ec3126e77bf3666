"""Clients of the HTTP API, for programs that have neither Django nor its settings.

`Client` and `AsyncClient` have the same methods. They need the extra `client`, which is httpx.
"""

from durable_monty.client.answers import (
    Call,
    Complaint,
    Event,
    Execution,
    ExecutionRow,
    Failure,
    Function,
    PendingCall,
)
from durable_monty.client.asynchronous import AsyncClient
from durable_monty.client.synchronous import Client

__all__ = [
    "AsyncClient",
    "Call",
    "Client",
    "Complaint",
    "Event",
    "Execution",
    "ExecutionRow",
    "Failure",
    "Function",
    "PendingCall",
]
