"""The state of a call: pages, lists, figures and the doctor derive theirs from this one."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Protocol

from django.db.models import Q

from durable_monty.kinds import FUNCTION, PERSON, TIMER, HasKind, kind_of
from durable_monty.models import CallStatus
from durable_monty.models.call import ACCEPTED, OPEN


class CallState(Enum):
    """What has to happen next to an open call, or how a closed one ended."""

    PERSON = "person"
    EXPECTED = "expected"  # somebody sends its answer, or the engine gives one when it is due
    SLEEPING = "sleeping"
    SLEEP_OVER = "sleep over"
    QUEUED = "queued"
    CLAIMED = "claimed"
    RUNNING = "running"
    ACCEPTED = "accepted"  # a service has taken it over and posts the answer to the webhook
    RETRYING = "retrying"
    VANISHED = "vanished"
    NEVER_DUE = "never due"  # a broken row: no worker will ever look at it
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class HasState(HasKind, Protocol):
    """A call, or any row that has these columns of one."""

    @property
    def status(self) -> str: ...

    @property
    def due_at(self) -> datetime | None: ...

    @property
    def started_at(self) -> datetime | None: ...

    @property
    def job_id(self) -> str: ...


def call_state(call: HasState, now: datetime) -> CallState:
    """Returns the state of a call at `now`, which is the time of the database."""
    kind = kind_of(call)
    if call.status not in OPEN:
        state = CallState(call.status)
    elif kind is PERSON:
        state = CallState.PERSON
    elif not kind.is_run and not kind.undue:
        state = CallState.EXPECTED
    elif call.due_at is None:
        state = CallState.NEVER_DUE
    elif kind is TIMER:
        state = CallState.SLEEPING if call.due_at > now else CallState.SLEEP_OVER
    elif call.status == CallStatus.PENDING:
        state = CallState.RETRYING if call.due_at > now else CallState.QUEUED
    elif call.job_id.endswith(ACCEPTED):
        state = CallState.ACCEPTED
    # An engine goes on with its job, whatever became of the worker that handed it over: when the
    # call is due, any worker asks the engine.
    elif call.due_at <= now and not call.job_id:
        state = CallState.VANISHED
    else:
        state = CallState.CLAIMED if call.started_at is None else CallState.RUNNING
    return state


def is_retrying(now: datetime) -> Q:
    """Returns the condition of the rows for which `call_state` is `RETRYING`."""
    return FUNCTION.rows & Q(status=CallStatus.PENDING, due_at__gt=now)
