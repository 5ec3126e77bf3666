"""The failed calls that may have ended an execution."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from durable_monty.exceptions import NothingToRetry
from durable_monty.models import Call, CallStatus, Execution, ExecutionStatus
from durable_monty.operations.answer import END_REQUESTS
from durable_monty.sandbox import Failed

# A workflow may catch any number of failures. Those that ended it are among the last.
_SEARCHED = 100


def failed_calls(execution_id: uuid.UUID, using: str) -> list[Call]:
    """Returns the calls whose error the workflow has seen, the last one first.

    Calls that were answered to end the execution are not among them.
    """
    return list(
        Call.objects.using(using)
        .filter(execution_id=execution_id, status=CallStatus.FAILED, delivered_turn__isnull=False)
        .exclude(END_REQUESTS)
        .order_by("-delivered_turn", "call_id")
        .only("call_id", "delivered_turn", "error_type", "error_message", "raised_as")[:_SEARCHED]
    )


def fatal_calls(execution: Execution, using: str) -> tuple[int, Sequence[int]]:
    """Returns the turn in which a failed call ended the execution, and its calls that failed.

    It is the call whose error is the execution's; if none is (the workflow raised another one),
    those whose failure was delivered in the last turn.
    """
    failed = failed_calls(execution.pk, using)
    turns = [
        call.delivered_turn
        for call in failed
        if execution.error_type == call.error_type
        and _is_message_of(call, execution.error_message)
    ]
    turns += [call.delivered_turn for call in failed if call.delivered_turn == execution.turn]
    if execution.status != ExecutionStatus.FAILED or not turns or turns[0] is None:
        why = "no failed call that ended it"
        raise NothingToRetry(execution.pk, execution.status, why)
    turn = turns[0]
    return turn, [call.call_id for call in failed if call.delivered_turn == turn]


def own_type(execution_id: uuid.UUID, failed: Failed, using: str) -> str:
    """Returns the type of the error that ended a workflow, as the function raised it."""
    for call in failed_calls(execution_id, using):
        raised_as = call.raised_as or call.error_type
        if raised_as == failed.error_type and _is_message_of(call, failed.message):
            return call.error_type
    return failed.error_type


def _is_message_of(call: Call, message: str) -> bool:
    return message in (call.error_message, repr(call.error_message))  # str() of a KeyError quotes
