"""Defines what can be followed, and reads its current state."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from django.core.serializers.json import DjangoJSONEncoder

from durable_monty.api.states import State, Version, newest_states, states_of, versions_of
from durable_monty.reads.pages import ExecutionQuery

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
