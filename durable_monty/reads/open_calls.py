"""The open calls of executions, by what they wait for."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass

from django.db.models import Count

from durable_monty.models import Call


@dataclass(frozen=True, slots=True)
class OpenCalls:
    """The open calls of one execution that wait for the same."""

    function: str
    kind: str
    executor: str
    count: int


def read_open_calls(
    execution_ids: Collection[uuid.UUID], using: str
) -> dict[uuid.UUID, list[OpenCalls]]:
    """What each of a page of executions waits for, by function, in one query."""
    if not execution_ids:
        return {}
    groups = (
        Call.objects.using(using)
        .filter(execution_id__in=execution_ids)
        .open()
        .order_by("function")
        .values_list("execution_id", "function", "kind", "executor")
        .annotate(count=Count("pk"))
    )
    found: dict[uuid.UUID, list[OpenCalls]] = {}
    for execution_id, *facts in groups:
        found.setdefault(execution_id, []).append(OpenCalls(*facts))
    return found
