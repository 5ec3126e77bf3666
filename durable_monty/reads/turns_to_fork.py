"""What an execution waited for after a turn."""

from __future__ import annotations

from django.db.models import Q

from durable_monty.models import Call, Execution
from durable_monty.models.call import CallQuerySet


def open_at(execution: Execution, turn: int, limit: int, using: str) -> list[Call]:
    """The function calls that were open after `turn`, with what has become of them."""
    return list(_open_at(execution, turn, using).order_by("call_id")[:limit])


def count_open_at(execution: Execution, turn: int, using: str) -> int:
    return _open_at(execution, turn, using).count()


def _open_at(execution: Execution, turn: int, using: str) -> CallQuerySet:
    made = Call.objects.using(using).filter(execution=execution, turn__lte=turn).functions()
    return made.filter(Q(delivered_turn=None) | Q(delivered_turn__gt=turn))
