"""Dataclasses for the responses of the API. Values have their Python types; times are aware."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar

from durable_monty import codec

T = TypeVar("T")

_VALUES = frozenset({"args", "kwargs", "inputs", "output", "result"})


@dataclass(frozen=True, slots=True)
class Failure:
    """Says why an execution or a call failed. `type` is the name of an exception."""

    type: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class PendingCall:
    call_id: int
    function_name: str
    args: list[Any]
    kwargs: dict[str, Any]
    status: str


@dataclass(frozen=True, slots=True)
class _ExecutionFacts:
    execution_id: str
    name: str
    label: str
    version: int | None
    key: str | None
    status: str
    turn: int
    call_count: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class ExecutionRow(_ExecutionFacts):
    """Describes an execution in a list. `error` has its type and the beginning of its message."""

    error: str | None


@dataclass(frozen=True, slots=True)
class Execution(_ExecutionFacts):
    """Describes an execution.

    `pending_calls` has the first function calls without an answer. It is None if the key may not
    see calls.
    """

    inputs: dict[str, Any]
    output: Any
    error: Failure | None
    pending_calls: list[PendingCall] | None
    more_pending_calls: bool
    reason: str
    pause_requested: bool
    cancel_requested_at: datetime | None
    deadline: datetime | None
    forked_from: str | None
    forked_turn: int | None
    retried_by: str | None
    handled_at: datetime | None
    resolution: str
    log: str

    @property
    def is_finished(self) -> bool:
        return self.status in ("completed", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Call:
    call_id: int
    kind: str
    function: str
    status: str
    args: list[Any]
    kwargs: dict[str, Any]
    result: Any
    error: Failure | None
    executor: str
    turn: int
    delivered_turn: int | None
    attempt: int
    idempotency_key: str
    completed_by: str
    reason: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Function:
    """Describes a function that workflows may call.

    `parameters` and `returns` are JSON schemas of its annotations.
    """

    name: str
    function: str
    description: str
    executor: str
    parameters: dict[str, Any]
    returns: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Complaint:
    line: int
    column: int
    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Event:
    """Describes an event. `name` is "state", "end", "list" or "gone".

    `data` is a state, and a list of states for "list". If several events belong together, only
    the last has an `id`.
    """

    name: str
    data: Any
    id: str


def read(kind: type[T], facts: Mapping[str, Any]) -> T:
    """Makes an instance of `kind` from JSON."""
    # A newer server may send fields that this version does not know.
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: _read_field(name, facts[name]) for name in known})


def read_all(kind: type[T], rows: Iterable[Mapping[str, Any]]) -> list[T]:
    return [read(kind, row) for row in rows]


def _read_field(name: str, value: Any) -> Any:
    # The names say what JSON cannot: these fields hold values of the workflow.
    if name in _VALUES:
        return codec.decode(json.dumps(value))
    if value is None:
        return None
    if name == "pending_calls":
        return read_all(PendingCall, value)
    if name == "error":
        return read(Failure, value) if isinstance(value, dict) else value
    if name.endswith("_at") or name == "deadline":
        return datetime.fromisoformat(value)
    return value
