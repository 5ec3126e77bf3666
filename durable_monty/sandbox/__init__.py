"""Drives Monty. Pure: no ORM, no settings, no clock; the only room that imports it."""

from durable_monty.sandbox.interpreter import SLEEP, Interpreter
from durable_monty.sandbox.journal import (
    CANCELLED,
    CallRequest,
    Completed,
    Failed,
    Kind,
    Limits,
    Position,
    RecordedTurn,
    Settled,
    Suspended,
    Turn,
    Workflow,
)
from durable_monty.sandbox.replay import replay, retrace
from durable_monty.sandbox.snapshots import Packed, pack, unpack

__all__ = [
    "CANCELLED",
    "SLEEP",
    "CallRequest",
    "Completed",
    "Failed",
    "Interpreter",
    "Kind",
    "Limits",
    "Packed",
    "Position",
    "RecordedTurn",
    "Settled",
    "Suspended",
    "Turn",
    "Workflow",
    "pack",
    "replay",
    "retrace",
    "unpack",
]
