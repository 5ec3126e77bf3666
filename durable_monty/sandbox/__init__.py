"""Drives Monty. The only package that imports it; it uses no ORM, no settings and no clock."""

from durable_monty.sandbox.complaints import complaints_of
from durable_monty.sandbox.dictionary import dictionary_of
from durable_monty.sandbox.error_types import ERROR_TYPE, RAISABLE, nearest
from durable_monty.sandbox.failures import never_awaited
from durable_monty.sandbox.interpreter import SLEEP, Interpreter
from durable_monty.sandbox.modules import MODULES
from durable_monty.sandbox.pool import has_spare, trim
from durable_monty.sandbox.replay import Rehearsal, rehearse, replay, retrace
from durable_monty.sandbox.snapshots import Packed, digest_of, pack, unpack
from durable_monty.sandbox.type_check import SYNTAX, Checker, Complaint, Program
from durable_monty.sandbox.types import (
    CANCELLED,
    INPUTS,
    CallRequest,
    Completed,
    Failed,
    Limits,
    Position,
    RecordedTurn,
    RecordedTurns,
    Settled,
    Suspended,
    Turn,
    Workflow,
)
from durable_monty.sandbox.unawaited import mistake_in

__all__ = [
    "CANCELLED",
    "ERROR_TYPE",
    "INPUTS",
    "MODULES",
    "RAISABLE",
    "SLEEP",
    "SYNTAX",
    "CallRequest",
    "Checker",
    "Complaint",
    "Completed",
    "Failed",
    "Interpreter",
    "Limits",
    "Packed",
    "Position",
    "Program",
    "RecordedTurn",
    "RecordedTurns",
    "Rehearsal",
    "Settled",
    "Suspended",
    "Turn",
    "Workflow",
    "complaints_of",
    "dictionary_of",
    "digest_of",
    "has_spare",
    "mistake_in",
    "nearest",
    "never_awaited",
    "pack",
    "rehearse",
    "replay",
    "retrace",
    "trim",
    "unpack",
]
