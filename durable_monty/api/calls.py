"""Lists, answers and retries calls."""

from __future__ import annotations

import builtins
import uuid
from typing import Any

from django.db import router as databases
from django.http import HttpRequest
from django.utils.translation import gettext
from ninja import Router

from durable_monty import codec, conf, operations
from durable_monty.api.callers import Caller, note, require
from durable_monty.api.cursors import make_cursor, read_cursor
from durable_monty.api.schemas import (
    ERRORS,
    CallPage,
    CallState,
    CompleteIn,
    FailIn,
    Limit,
    Number,
    ReasonIn,
)
from durable_monty.api.shapes import call_facts
from durable_monty.api.values import Shape, Values
from durable_monty.models import Call, CallStatus, Execution
from durable_monty.operations import Answer
from durable_monty.operations.transactions import write
from durable_monty.reads import executions as reads
from durable_monty.reads.pages import read_calls_page
from durable_monty.sandbox import nearest

router = Router(tags=["calls"])

_CALL = "/executions/{execution_id}/calls/{call_id}"


@router.get("/executions/{execution_id}/calls", response={200: CallPage, **ERRORS})
def list_calls(
    request: HttpRequest,
    execution_id: uuid.UUID,
    *,
    status: CallStatus | None = None,
    limit: Limit = 50,
    cursor: str | None = None,
    values: Shape | None = None,
) -> Any:
    """Lists the calls of an execution in order. A page of large values ends before its limit."""
    require(request, "read", "view_execution", "view_call")
    shape, using = Values(request, values), databases.db_for_read(Call)
    execution = reads.get_execution(execution_id, using)
    calls = Call.objects.using(using).filter(execution=execution)
    if status is not None:
        calls = calls.filter(status=status)
    filters = {"execution": execution_id, "status": status}
    after = None if cursor is None else read_cursor(cursor, "calls", filters)
    rows, more = read_calls_page(calls, after, limit)
    last = make_cursor(rows[-1].call_id, "calls", filters) if more else None
    return {"items": [call_facts(row, shape) for row in rows], "next_cursor": last}


@router.post(f"{_CALL}/complete", response={200: CallState, **ERRORS})
def complete_call(
    request: HttpRequest,
    execution_id: uuid.UUID,
    call_id: Number,
    given: CompleteIn,
    values: Shape | None = None,
) -> Any:
    """Answers a call with a result, once."""
    caller = require(request, "answer", "view_call", "complete_call")
    result = Values(request, values).read(given.result, "result")
    limit = conf.current().MAX_VALUE_BYTES
    answer = Answer(codec.encode(result, path="result", max_bytes=limit))
    text = gettext("Completed by hand.")
    return _settle(caller, execution_id, call_id, answer, reason=given.reason, text=text)


@router.post(f"{_CALL}/fail", response={200: CallState, **ERRORS})
def fail_call(
    request: HttpRequest, execution_id: uuid.UUID, call_id: Number, given: FailIn
) -> Any:
    """Answers a call with an error, which is raised where the workflow awaits the call."""
    caller = require(request, "answer", "view_call", "complete_call")
    text = gettext("Failed by hand: %(error)s") % {"error": given.error}
    # The workflow sees a type that the sandbox lacks as its nearest base class.
    found = vars(builtins).get(given.error_type)
    is_error = isinstance(found, type) and issubclass(found, BaseException)
    raised_as = nearest(found if is_error else Exception)  # type: ignore[arg-type]
    answer = Answer.of_error(given.error_type, given.error)
    if raised_as != given.error_type:
        answer = answer._replace(raised_as=raised_as)
    return _settle(caller, execution_id, call_id, answer, reason=given.reason, text=text)


@router.post(f"{_CALL}/retry", response={200: CallState, **ERRORS})
def retry_call(
    request: HttpRequest,
    execution_id: uuid.UUID,
    call_id: Number,
    given: ReasonIn | None = None,
) -> Any:
    """Makes the next attempt of a call due now."""
    caller = require(request, "answer", "view_call", "retry_call")
    using = databases.db_for_write(Call)
    with write(using):
        operations.retry_call(execution_id, call_id, using=using)
        call = _find(execution_id, call_id, using)
        note(caller, call, gettext("Retried."), given.reason if given else "")
    return _state(call)


def _settle(
    caller: Caller,
    execution_id: uuid.UUID,
    call_id: int,
    answer: Answer,
    *,
    reason: str,
    text: str,
) -> dict[str, Any]:
    using = databases.db_for_write(Execution)
    with write(using):
        operations.settle_by_hand(
            execution_id, call_id, answer, using=using, user=caller.actor, reason=reason
        )
        call = _find(execution_id, call_id, using)
        note(caller, call, text, reason)
    return _state(call)


def _find(execution_id: uuid.UUID, call_id: int, using: str) -> Call:
    rows = Call.objects.using(using).only("execution_id", "call_id", "function", "status")
    return rows.get(execution_id=execution_id, call_id=call_id)


def _state(call: Call) -> dict[str, Any]:
    return {
        "execution_id": str(call.execution_id),
        "call_id": call.call_id,
        "status": call.status,
    }
