"""Declares the requests and responses of the API, and so its OpenAPI document."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from ninja import Field, Schema
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
)

from durable_monty.durations import LONGEST
from durable_monty.models import CallKind, CallStatus, ExecutionStatus
from durable_monty.text_limits import MAX_NAME, MAX_REASON

_LARGEST = 2**31 - 1
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _storable(text: str) -> str:
    if found := re.search("[\0\ud800-\udfff]", text):
        raise ValueError(f"has a character that cannot be stored, at {found.start()}")
    return text


def _moment(text: Any) -> Any:
    # Pydantic would accept numbers as seconds, and dates as midnight.
    if isinstance(text, str) and not _MOMENT.fullmatch(text):
        raise ValueError("must be a moment with its offset, such as 2026-01-31T12:00:00Z")
    return text


_stored = AfterValidator(_storable)
# The OpenAPI document shows a pattern. `_storable` gives a better error: where the character is.
_shown = Field(json_schema_extra={"pattern": "^[^\\u0000]*$"})

Text = Annotated[str, _stored, _shown]
Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
Source = Annotated[str, StringConstraints(min_length=1), _stored, _shown]
Key = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME), _stored, _shown]
Reason = Annotated[str, StringConstraints(max_length=MAX_REASON), _stored, _shown]
SomeReason = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_REASON), _stored, _shown
]
Label = Annotated[str, StringConstraints(max_length=MAX_NAME), _stored, _shown]
ErrorType = Annotated[str, StringConstraints(min_length=1, max_length=50), _stored, _shown]
Number = Annotated[int, Field(ge=0, le=_LARGEST)]
Limit = Annotated[int, Field(ge=1, le=200)]
OnConflict = Literal["raise", "return"]
Value = Any


class In(Schema):
    # A misspelt field is an error.
    model_config = ConfigDict(extra="forbid")


class ComplaintOut(Schema):
    line: int
    column: int
    rule: str
    message: str


class ErrorFacts(Schema):
    """`code` is stable. `path` leads to the value or the field that is wrong."""

    code: str
    message: str
    path: str | None = None
    complaints: list[ComplaintOut] | None = None


class ErrorOut(Schema):
    error: ErrorFacts


ERRORS: dict[int, Any] = dict.fromkeys(
    (400, 401, 403, 404, 409, 413, 415, 422, 429, 503), ErrorOut
)


class StartIn(In):
    """`functions` are registered names or dotted paths. `deadline` is in seconds from now."""

    code: Source
    functions: list[Text] = Field(default_factory=list)
    inputs: dict[str, Value] = Field(default_factory=dict)
    key: Key | None = None
    name: Label = ""
    label: Label = ""
    deadline: float | None = Field(default=None, gt=0, le=LONGEST)
    on_conflict: OnConflict = "raise"


class CheckIn(In):
    code: Source
    functions: list[Text] = Field(default_factory=list)
    inputs: dict[str, Value] = Field(default_factory=dict)


class CheckOut(Schema):
    complaints: list[ComplaintOut]


class ExecutionState(Schema):
    execution_id: str
    status: ExecutionStatus


class ErrorText(Schema):
    type: str
    message: str
    traceback: str = ""


class ExecutionFacts(Schema):
    execution_id: str
    name: str
    label: str
    version: int | None
    key: str | None
    status: ExecutionStatus
    turn: int
    call_count: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class ExecutionRow(ExecutionFacts):
    """An execution in a list. `error` has its type and the beginning of its message."""

    error: str | None


class ExecutionPage(Schema):
    items: list[ExecutionRow]
    next_cursor: str | None


class PendingCall(Schema):
    call_id: int
    function_name: str
    args: Value
    kwargs: Value
    status: CallStatus


class ExecutionOut(ExecutionFacts):
    """An execution. `pending_calls` are the first function calls without an answer. They are null
    if the caller may not see calls. With `more_pending_calls`, the list of calls has others."""

    inputs: Value
    output: Value
    error: ErrorText | None
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


class CallOut(Schema):
    call_id: int
    kind: CallKind
    function: str
    status: CallStatus
    args: Value
    kwargs: Value
    result: Value
    error: ErrorText | None
    executor: str
    turn: int
    delivered_turn: int | None
    attempt: int
    progress: float | None
    progress_message: str
    idempotency_key: str
    completed_by: str
    reason: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class CallPage(Schema):
    items: list[CallOut]
    next_cursor: str | None


class CompleteIn(In):
    result: Value
    reason: Reason = ""


class FailIn(In):
    """`error_type` is the name of a built-in exception of Python."""

    error: Text
    error_type: ErrorType = "RuntimeError"
    reason: Reason = ""


class CallState(Schema):
    execution_id: str
    call_id: int
    status: CallStatus


class ReasonIn(In):
    reason: Reason = ""


class CancelIn(ReasonIn):
    """`grace` is the time for the clean-up in seconds, by default `CANCEL_GRACE`."""

    grace: float | None = Field(default=None, ge=0, le=LONGEST)


class ResolveIn(In):
    reason: SomeReason


class RetryIn(ReasonIn):
    """With `keep_keys`, calls that are asked again keep their idempotency keys."""

    key: Key | None = None
    keep_keys: bool = True


class EditedResult(In):
    """Another result of a call."""

    call_id: Number
    result: Value


class EditedError(In):
    """An error instead of the answer that a call had."""

    call_id: Number
    error: Text


class ForkIn(ReasonIn):
    """The new execution continues after `turn`; 0 starts from the beginning. `answers` and
    `ask_again` are for calls that were open then."""

    turn: Number
    code: Source | None = None
    functions: list[Text] | None = None
    answers: list[EditedResult | EditedError] = Field(default_factory=list)
    ask_again: list[Number] = Field(default_factory=list)
    key: Key | None = None
    name: Label | None = None
    on_conflict: OnConflict = "raise"
    keep_keys: bool = False


class FunctionOut(Schema):
    """Workflows call it by `name`, a start lists it as `function`. `parameters` and `returns` are
    JSON schemas of its annotations."""

    name: str
    function: str
    description: str
    executor: str
    parameters: dict[str, Any]
    returns: dict[str, Any]


class FunctionsOut(Schema):
    items: list[FunctionOut]


class HealthOut(Schema):
    status: Literal["ok"]


class ReadyOut(Schema):
    status: Literal["ready"]
    workers: int
