"""The open calls of executions."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.db.models import Count

from durable_monty.models import Call, Execution

# An execution may have thousands; a sentence about them needs no more.
_FIRST = 50


@dataclass(frozen=True, slots=True)
class OpenCalls:
    """The open calls of one execution that wait for the same."""

    function: str
    kind: str
    executor: str
    count: int


def read_open_calls(
    execution_ids: Collection[uuid.UUID], using: str
) -> Mapping[uuid.UUID, list[OpenCalls]]:
    """Returns the open calls of each of these executions, in one query."""
    found: dict[uuid.UUID, list[OpenCalls]] = defaultdict(list)
    if execution_ids:
        calls = Call.objects.using(using).filter(execution_id__in=execution_ids).open()
        groups = (
            calls.order_by("function")
            .values_list("execution_id", "function", "kind", "executor")
            .annotate(count=Count("pk"))
        )
        for execution_id, *facts in groups:
            found[execution_id].append(OpenCalls(*facts))
    return found


def read_first_open(execution: Execution, using: str) -> tuple[list[Call], int]:
    """Returns the first open calls of an execution, and how many it has."""
    calls = Call.objects.using(using).filter(execution=execution).open().order_by("call_id")
    light = calls.select_related("worker").defer("args", "kwargs", "worker__functions_json")
    first = list(light[:_FIRST])
    return first, len(first) if len(first) < _FIRST else calls.count()
