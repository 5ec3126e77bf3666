"""What can be followed, and what is seen of it."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from django.core.serializers.json import DjangoJSONEncoder

from durable_monty.api.states import State, Version, newest_states, states_of, versions_of
from durable_monty.reads.pages import ExecutionQuery

# Executions of a list that are followed.
WINDOW = 100


@dataclass(frozen=True, slots=True)
class OneExecution:
    """Follows an execution."""

    pk: uuid.UUID


@dataclass(frozen=True, slots=True)
class NewestExecutions:
    """Follows the newest executions of a list."""

    wanted: ExecutionQuery


Topic = OneExecution | NewestExecutions


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was seen: execution id -> its state as JSON. All listeners share it. `version`: what
    it is compared with before it is read again."""

    rows: Mapping[str, str]
    id: str
    is_final: bool = False
    version: Version | None = None


def read_news(known: Mapping[Topic, Version | None], using: str) -> dict[Topic, Snapshot]:
    """What is new of topics, whose last versions are given. However many executions are followed,
    their versions are one query, and what has changed is two."""
    return _of_executions(known, using) | _of_lists(known, using)


def _of_executions(known: Mapping[Topic, Version | None], using: str) -> dict[Topic, Snapshot]:
    wanted = {topic.pk: topic for topic in known if isinstance(topic, OneExecution)}
    versions = versions_of(wanted, using)
    changed = [pk for pk, version in versions.items() if version != known[wanted[pk]]]
    seen: dict[Topic, Snapshot] = {}
    for pk, state in states_of(changed, using).items():
        is_final, version = state["is_finished"], versions[pk]
        seen[wanted[pk]] = _snapshot({pk: state}, is_final=is_final, version=version)
    gone = [topic for pk, topic in wanted.items() if pk not in versions]
    return seen | dict.fromkeys(gone, _snapshot({}, is_final=True))


def _of_lists(known: Mapping[Topic, Version | None], using: str) -> dict[Topic, Snapshot]:
    lists = [topic for topic in known if isinstance(topic, NewestExecutions)]
    return {topic: _snapshot(newest_states(topic.wanted, WINDOW, using)) for topic in lists}


def _snapshot(
    states: Mapping[uuid.UUID, State], *, is_final: bool = False, version: Version | None = None
) -> Snapshot:
    rows = {
        str(pk): json.dumps(state, cls=DjangoJSONEncoder, separators=(",", ":"))
        for pk, state in states.items()
    }
    digest = hashlib.sha256("\n".join(rows.values()).encode()).hexdigest()[:16]
    return Snapshot(rows, digest, is_final, version)
