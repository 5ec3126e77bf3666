"""Reads the states of executions that events report. They have no values of workflows."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Count
from django.db.models.functions import Right

from durable_monty.api.shapes import execution_row
from durable_monty.models import Call, Execution
from durable_monty.models.call import OPEN
from durable_monty.models.execution import FINISHED
from durable_monty.reads.pages import ExecutionQuery, read_executions_page

TAIL = 2_000  # characters of the end of the log
# Databases limit the parameters of a statement.
_BATCH_SIZE = 500
_COUNTED = ("open", "completed", "failed", "cancelled")
_LARGE = ("log", "inputs", "output", "error_traceback")

State = dict[str, Any]
Version = tuple[Any, ...]


def versions_of(ids: Iterable[uuid.UUID], using: str) -> dict[uuid.UUID, Version]:
    """Returns a version for each execution that exists. It differs whenever the state may differ.

    It reads one table by its primary key, which is much cheaper than reading the states.
    """
    columns = ("status", "turn", "wakeups", "call_count", "reason", "cancel_requested_at")
    found: dict[uuid.UUID, Version] = {}
    for batch in _batches(ids):
        rows = Execution.objects.using(using).filter(pk__in=batch)
        found |= {pk: tuple(version) for pk, *version in rows.values_list("pk", *columns)}
    return found


def states_of(ids: Iterable[uuid.UUID], using: str) -> dict[uuid.UUID, State]:
    """Returns the states of the executions that exist, in two queries for each 500.

    A state is a row of the list of executions with `is_finished`, `reason`, `log_tail` and
    `calls`, which counts function calls: `{"open", "completed", "failed", "cancelled"}`.
    """
    found: dict[uuid.UUID, State] = {}
    for batch in _batches(ids):
        counts = {pk: dict.fromkeys(_COUNTED, 0) for pk in batch}
        calls = Call.objects.using(using).filter(execution__in=batch).functions().order_by()
        grouped = calls.values_list("execution_id", "status").annotate(number=Count("pk"))
        for pk, status, number in grouped:
            counts[pk]["open" if status in OPEN else status] += number
        rows = Execution.objects.using(using).filter(pk__in=batch)
        for execution in rows.annotate(tail=Right("log", TAIL)).defer(*_LARGE):
            found[execution.pk] = _state(execution) | {
                "reason": execution.reason,
                "calls": counts[execution.pk],
                "log_tail": vars(execution)["tail"],
            }
    return found


def newest_states(wanted: ExecutionQuery, limit: int, using: str) -> dict[uuid.UUID, State]:
    """Returns the newest executions of a list, each as its row there with `is_finished`."""
    rows, _more = read_executions_page(wanted, None, limit, using)
    return {execution.pk: _state(execution) for execution in rows}


def _state(execution: Execution) -> State:
    return execution_row(execution) | {"is_finished": execution.status in FINISHED}


def _batches(ids: Iterable[uuid.UUID]) -> Iterator[list[uuid.UUID]]:
    wanted = list(ids)
    for first in range(0, len(wanted), _BATCH_SIZE):
        yield wanted[first : first + _BATCH_SIZE]
