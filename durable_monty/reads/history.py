"""The manual actions on an execution, as far as they are on record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q

from durable_monty.models import Call, Execution

_SHOWN = 50


@dataclass(frozen=True, slots=True)
class ManualAction:
    """A change of the execution, or the answer of a call. Scripts have no `user`."""

    at: datetime
    user: str
    change: str = ""
    reason: str = ""
    call: Call | None = None


def find_manual_actions(
    execution: Execution, using: str, *, with_calls: bool
) -> tuple[ManualAction, ...]:
    """Returns the latest actions, newest first; `with_calls`: also calls answered by hand."""
    # The admin's history is in its own database, and names objects by the text of their key.
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(Execution), object_id=str(execution.pk)
    )
    actions = [
        ManualAction(entry.action_time, str(entry.user), entry.get_change_message())
        for entry in entries.select_related("user").order_by("-action_time")[:_SHOWN]
    ]
    if with_calls:
        by_hand = ~Q(completed_by_name="") | ~Q(reason="")
        calls = Call.objects.using(using).filter(by_hand, execution=execution)
        light = calls.only(
            "call_id", "function", "status", "finished_at", "reason", "completed_by_name"
        )
        actions += [
            ManualAction(
                call.finished_at or call.created_at,
                call.completed_by_name,
                reason=call.reason,
                call=call,
            )
            for call in light.order_by("-finished_at")[:_SHOWN]
        ]
    return tuple(sorted(actions, key=lambda action: action.at, reverse=True)[:_SHOWN])
