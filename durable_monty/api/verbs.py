"""Acts on executions. Each verb needs the permission that the admin asks for."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import router as databases
from django.http import HttpRequest
from django.utils.translation import gettext, gettext_noop
from ninja import Router

from durable_monty import codec, conf, operations
from durable_monty.api.callers import Caller, note, require
from durable_monty.api.schemas import (
    ERRORS,
    CancelIn,
    EditedError,
    ExecutionState,
    ForkIn,
    ReasonIn,
    ResolveIn,
    RetryIn,
)
from durable_monty.api.values import Shape, Values
from durable_monty.models import Execution
from durable_monty.operations import Answer
from durable_monty.operations.transactions import write

router = Router(tags=["executions"])

_DONE = {200: ExecutionState, **ERRORS}
_EXECUTION = "/executions/{execution_id}"
_HISTORY = {
    "cancel": gettext_noop("Cancelled."),
    "terminate": gettext_noop("Terminated."),
    "pause": gettext_noop("Paused."),
    "resume": gettext_noop("Resumed."),
    "resolve": gettext_noop("Resolved."),
}


@router.post(f"{_EXECUTION}/cancel", response=_DONE)
def cancel_execution(
    request: HttpRequest, execution_id: uuid.UUID, given: CancelIn | None = None
) -> Any:
    """Asks an execution to end. What it awaits raises an error, and it may clean up."""
    given = given or CancelIn()
    cancel = partial(operations.cancel_execution, reason=given.reason, grace=given.grace)
    return _act(request, execution_id, "cancel", cancel, given)


@router.post(f"{_EXECUTION}/terminate", response=_DONE)
def terminate_execution(
    request: HttpRequest, execution_id: uuid.UUID, given: ReasonIn | None = None
) -> Any:
    """Ends an execution at once. It cannot clean up."""
    given = given or ReasonIn()
    terminate = partial(operations.terminate_execution, reason=given.reason)
    return _act(request, execution_id, "terminate", terminate, given)


@router.post(f"{_EXECUTION}/pause", response=_DONE)
def pause_execution(
    request: HttpRequest, execution_id: uuid.UUID, given: ReasonIn | None = None
) -> Any:
    """Stops an execution from advancing until it is resumed."""
    given = given or ReasonIn()
    pause = partial(operations.pause_execution, reason=given.reason)
    return _act(request, execution_id, "pause", pause, given)


@router.post(f"{_EXECUTION}/resume", response=_DONE)
def resume_execution(
    request: HttpRequest, execution_id: uuid.UUID, given: ReasonIn | None = None
) -> Any:
    """Lets workers continue a paused execution."""
    given = given or ReasonIn()
    resume = operations.resume_execution
    return _act(request, execution_id, "resume", resume, given)


@router.post(f"{_EXECUTION}/resolve", response=_DONE)
def resolve_execution(request: HttpRequest, execution_id: uuid.UUID, given: ResolveIn) -> Any:
    """Marks a failed execution as handled. It leaves the list of failures."""
    resolve = partial(operations.resolve_execution, reason=given.reason)
    return _act(request, execution_id, "resolve", resolve, given)


@router.post(f"{_EXECUTION}/retry", response=_DONE)
def retry_execution(
    request: HttpRequest, execution_id: uuid.UUID, given: RetryIn | None = None
) -> Any:
    """Retries failed calls, and returns the execution that continues.

    It is a new execution if this one had failed.
    """
    caller = require(request, "operate", "view_execution", "retry_execution")
    given = given or RetryIn()
    using = databases.db_for_write(Execution)
    # This runs the sandbox, so it must be outside of a transaction.
    made = operations.retry_execution(
        execution_id, key=given.key, keep_keys=given.keep_keys, using=using
    )
    return _made(caller, execution_id, made, gettext("Retried."), given.reason)


@router.post(f"{_EXECUTION}/fork", response=_DONE)
def fork_execution(
    request: HttpRequest, execution_id: uuid.UUID, given: ForkIn, values: Shape | None = None
) -> Any:
    """Starts an execution that continues from a turn of this one.

    Other code or functions need the permissions of a start.
    """
    caller = require(request, "operate", "view_execution", "view_call", "fork_execution")
    if given.code is not None or given.functions is not None:
        caller.require("start", "start_execution", "view_program")
    answers: dict[int, Answer | None] = dict.fromkeys(given.ask_again)
    reader, limit = Values(request, values), conf.current().MAX_VALUE_BYTES
    for number, edited in enumerate(given.answers):
        if isinstance(edited, EditedError):
            answers[edited.call_id] = Answer.of_error("RuntimeError", edited.error)
        else:
            path = f"answers[{number}].result"
            value = reader.read(edited.result, path)
            answers[edited.call_id] = Answer(codec.encode(value, path=path, max_bytes=limit))
    edits = operations.Edits(
        given.code,
        given.functions,
        answers,
        given.name,
        user=caller.actor,
        reason=given.reason,
        keep_keys=given.keep_keys,
    )
    using = databases.db_for_write(Execution)
    options: dict[str, Any] = {"key": given.key, "on_conflict": given.on_conflict, "using": using}
    made = operations.fork_execution(execution_id, given.turn, edits, **options)
    return _made(caller, execution_id, made, gettext("Forked."), given.reason)


def _act(
    request: HttpRequest,
    execution_id: uuid.UUID,
    verb: str,
    operation: Callable[..., object],
    given: ReasonIn | ResolveIn,
) -> dict[str, Any]:
    """Runs an operation on an execution, and records it in the history."""
    caller = require(request, "operate", "view_execution", f"{verb}_execution")
    using = databases.db_for_write(Execution)
    with write(using):
        operation(execution_id, using=using)
        execution = Execution.objects.using(using).only("status", "name").get(pk=execution_id)
        note(caller, execution, gettext(_HISTORY[verb]), given.reason)
    return _state(execution)


def _made(
    caller: Caller, origin_id: uuid.UUID, made: Execution, text: str, reason: str
) -> dict[str, Any]:
    """Records on both executions that one was made from the other."""
    # An execution that is retried in place is its own origin.
    if made.pk == origin_id:
        note(caller, made, text, reason)
    else:
        came = gettext("Forked from %(origin)s.") % {"origin": origin_id}
        note(caller, made, came, reason, is_new=True)
        went = gettext("%(done)s The new execution is %(made)s.") % {
            "done": text,
            "made": made.pk,
        }
        note(caller, Execution(pk=origin_id), went, reason)
    return _state(made)


def _state(execution: Execution) -> dict[str, Any]:
    return {"execution_id": str(execution.pk), "status": execution.status}
