"""The failed calls that may have ended an execution."""

from __future__ import annotations

import uuid

from durable_monty.models import Call, CallStatus
from durable_monty.operations.answer import END_REQUESTS
from durable_monty.sandbox import Failed

# How many failed calls are looked at, the last ones.
_LOOKED_AT = 100


def failed_calls(execution_id: uuid.UUID, using: str) -> list[Call]:
    """Returns the calls whose error the workflow has seen, the last one first.

    Calls that were answered to end the execution are not among them.
    """
    return list(
        Call.objects.using(using)
        .filter(execution_id=execution_id, status=CallStatus.FAILED, delivered_turn__isnull=False)
        .exclude(END_REQUESTS)
        .order_by("-delivered_turn", "call_id")
        .only("call_id", "delivered_turn", "error_type", "error_message", "raised_as")[:_LOOKED_AT]
    )


def own_type(execution_id: uuid.UUID, failed: Failed, using: str) -> str:
    """Returns the type of the error that ended a workflow, as the function raised it."""
    for call in failed_calls(execution_id, using):
        raised_as = call.raised_as or call.error_type
        if raised_as == failed.error_type and is_message_of(call, failed.message):
            return call.error_type
    return failed.error_type


def is_message_of(call: Call, message: str) -> bool:
    return message in (call.error_message, repr(call.error_message))  # str() of a KeyError quotes
