"""What people did to an execution, as far as it is on record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q
from django.utils.translation import gettext as _

from durable_monty.models import Call, CallStatus, Execution

_SHOWN = 50


@dataclass(frozen=True, slots=True)
class ManualAction:
    """`who` is empty where no user is on record: a script."""

    at: datetime
    who: str
    what: str
    reason: str = ""
    call: Call | None = None


def find_manual_actions(
    execution: Execution, using: str, *, with_calls: bool
) -> tuple[ManualAction, ...]:
    """The latest, newest first; `with_calls`: also the calls that were answered by hand."""
    acts = [*_entries(execution), *(_answers(execution, using) if with_calls else ())]
    return tuple(sorted(acts, key=lambda act: act.at, reverse=True)[:_SHOWN])


def _entries(execution: Execution) -> list[ManualAction]:
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(Execution), object_id=str(execution.pk)
    )
    latest = entries.select_related("user").order_by("-action_time")[:_SHOWN]
    return [
        ManualAction(entry.action_time, str(entry.user), entry.get_change_message())
        for entry in latest
    ]


def _answers(execution: Execution, using: str) -> list[ManualAction]:
    by_hand = ~Q(completed_by_name="") | ~Q(reason="")
    calls = Call.objects.using(using).filter(by_hand, execution=execution)
    latest = calls.order_by("-finished_at")
    wanted = ("call_id", "function", "status", "finished_at", "reason", "completed_by_name")
    return [
        ManualAction(
            call.finished_at or call.created_at,
            call.completed_by_name,
            _("failed by hand") if call.status == CallStatus.FAILED else _("completed by hand"),
            call.reason,
            call,
        )
        for call in latest.only(*wanted)[:_SHOWN]
    ]
