"""The state of executions, as it is told to whoever follows them. It has no values of theirs."""

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

# Characters of the log's end.
TAIL = 2_000
# Databases limit the parameters of a statement.
_AT_ONCE = 500
_COUNTED = ("open", "completed", "failed", "cancelled")
_LARGE = ("log", "inputs", "output", "error_traceback")

State = dict[str, Any]
Version = tuple[Any, ...]


def versions_of(ids: Iterable[uuid.UUID], using: str) -> dict[uuid.UUID, Version]:
    """What differs whenever `states_of` may differ, read by the key of one table."""
    columns = ("status", "turn", "wakeups", "call_count", "reason", "cancel_requested_at")
    found: dict[uuid.UUID, Version] = {}
    for part in _parts(ids):
        rows = Execution.objects.using(using).filter(pk__in=part)
        found |= {pk: tuple(version) for pk, *version in rows.values_list("pk", *columns)}
    return found


def states_of(ids: Iterable[uuid.UUID], using: str) -> dict[uuid.UUID, State]:
    """The states of the executions that there are, in two queries for each 500.

    Each is the row of a list, with `is_finished`, `reason`, `log_tail` and `calls`: the numbers of
    its function calls, `{"open", "completed", "failed", "cancelled"}`.
    """
    found: dict[uuid.UUID, State] = {}
    for part in _parts(ids):
        counts = _call_counts(part, using)
        rows = Execution.objects.using(using).filter(pk__in=part).annotate(tail=Right("log", TAIL))
        for execution in rows.defer(*_LARGE):
            found[execution.pk] = _state(execution) | {
                "reason": execution.reason,
                "calls": dict.fromkeys(_COUNTED, 0) | counts.get(execution.pk, {}),
                "log_tail": vars(execution)["tail"],
            }
    return found


def newest_states(wanted: ExecutionQuery, limit: int, using: str) -> dict[uuid.UUID, State]:
    """The newest executions of a list, each as its row there, with `is_finished`."""
    rows, _more = read_executions_page(wanted, None, limit, using)
    return {execution.pk: _state(execution) for execution in rows}


def _state(execution: Execution) -> State:
    return execution_row(execution) | {"is_finished": execution.status in FINISHED}


def _call_counts(ids: list[uuid.UUID], using: str) -> dict[uuid.UUID, dict[str, int]]:
    counts: dict[uuid.UUID, dict[str, int]] = {}
    rows = Call.objects.using(using).filter(execution__in=ids).functions().order_by()
    grouped = rows.values_list("execution_id", "status").annotate(number=Count("pk"))
    for pk, status, number in grouped:
        of_execution, name = counts.setdefault(pk, {}), "open" if status in OPEN else status
        of_execution[name] = of_execution.get(name, 0) + number
    return counts


def _parts(ids: Iterable[uuid.UUID]) -> Iterator[list[uuid.UUID]]:
    wanted = list(ids)
    for first in range(0, len(wanted), _AT_ONCE):
        yield wanted[first : first + _AT_ONCE]
