"""What becomes of open calls when their execution ends, or is asked to."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any

from durable_monty.models import Call, CallStatus
from durable_monty.operations.answer import Answer

DEADLINE_PASSED = "The deadline of the execution has passed."


def withdraw_calls(execution_ids: Collection[uuid.UUID], now: datetime, using: str) -> None:
    """Nobody waits for them any more: their executions have ended."""
    _close(execution_ids, using, status=CallStatus.CANCELLED, finished_at=now)


def answer_calls(execution_id: uuid.UUID, answer: Answer, now: datetime, using: str) -> None:
    """Each open call, its timers too, gives this answer."""
    _close(
        [execution_id],
        using,
        status=answer.status,
        error_type=answer.error_type,
        error_message=answer.error_message,
        finished_at=now,
    )


def _close(execution_ids: Collection[uuid.UUID], using: str, **changes: Any) -> None:
    """The executions are locked by the caller; calls are, in id order, here."""
    calls = Call.objects.using(using)
    open_calls = calls.filter(execution_id__in=execution_ids).open()
    pks = list(open_calls.order_by("pk").select_for_update().values_list("pk", flat=True))
    if pks:
        calls.filter(pk__in=pks).update(due_at=None, deadline_at=None, **changes)
