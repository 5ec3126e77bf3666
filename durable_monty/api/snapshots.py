"""Defines what can be followed, and reads its current state."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
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
# Executions of a list that are followed. The first event has the states of all of them.
WINDOW = 100


@dataclass(frozen=True, slots=True)
class OneExecution:
    """Names one execution to follow."""

    pk: uuid.UUID


@dataclass(frozen=True, slots=True)
class NewestExecutions:
    """Names a list, whose newest executions are followed."""

    wanted: ExecutionQuery


Topic = OneExecution | NewestExecutions


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Holds the state as JSON of each execution id. All listeners share it.

    The row is read again when `version` differs.
    """

    rows: Mapping[str, str]
    id: str
    is_final: bool = False
    version: Version | None = None


def read_snapshots(known: Mapping[Topic, Version | None], using: str) -> dict[Topic, Snapshot]:
    """Returns snapshots of the topics that differ from the version given for each.

    However many executions are followed, one query reads their versions and two read those that
    changed. A list has no version: it is always read.
    """
    executions = {topic.pk: topic for topic in known if isinstance(topic, OneExecution)}
    versions = versions_of(executions, using)
    changed = [pk for pk, version in versions.items() if version != known[executions[pk]]]
    found: dict[Topic, Snapshot] = {}
    for pk, state in states_of(changed, using).items():
        is_final, version = state["is_finished"], versions[pk]
        found[executions[pk]] = _snapshot({pk: state}, is_final=is_final, version=version)
    for pk, topic in executions.items():
        if pk not in versions:
            found[topic] = _snapshot({}, is_final=True)
    for each in known:
        if isinstance(each, NewestExecutions):
            found[each] = _snapshot(newest_states(each.wanted, WINDOW, using))
    return found


def _snapshot(
    states: Mapping[uuid.UUID, State], *, is_final: bool = False, version: Version | None = None
) -> Snapshot:
    rows = {
        str(pk): json.dumps(state, cls=DjangoJSONEncoder, separators=(",", ":"))
        for pk, state in states.items()
    }
    # Of the contents, so that a listener that reconnects to another process can name it.
    digest = hashlib.sha256("\n".join(rows.values()).encode()).hexdigest()[:16]
    return Snapshot(rows, digest, is_final, version)


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
        rows = Execution.objects.using(using).filter(pk__in=batch).select_related("version")
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
