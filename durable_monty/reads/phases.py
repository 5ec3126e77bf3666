"""The phases of a call: when it was queued, ran or waited, as far as its rows tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from durable_monty.kinds import kind_of
from durable_monty.models import Attempt, AttemptOutcome, Call
from durable_monty.reads.call_state import CallState, call_state


class PhaseKind(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PERSON = "person"
    SLEEP = "sleep"
    RETRY = "retry"


_DUE = (CallState.QUEUED, CallState.VANISHED)


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time; `outcome` is the status or the attempt's outcome with which it ended."""

    kind: PhaseKind
    start: datetime
    end: datetime
    attempt: int = 0
    outcome: str = ""
    is_open: bool = False


def phases_of(call: Call, attempts: Sequence[Attempt], now: datetime) -> tuple[Phase, ...]:
    """Returns the phases of a call, one at least; `attempts` are its latest, by number."""
    found = tuple(phase for phase in _phases(call, attempts, now) if phase.end > phase.start)
    if found:
        return found
    kind, at = PhaseKind(kind_of(call).first_phase), call.created_at
    return (Phase(kind, at, at, outcome="" if call.is_open else call.status),)


def _phases(call: Call, attempts: Sequence[Attempt], now: datetime) -> Iterator[Phase]:
    at, wait = call.created_at, PhaseKind(kind_of(call).first_phase)
    for attempt in attempts:
        started = attempt.started_at or at
        yield Phase(wait, at, started)
        yield Phase(PhaseKind.RUNNING, started, attempt.ended_at, attempt.number, attempt.outcome)
        at = attempt.ended_at
        wait = PhaseKind.QUEUED if attempt.outcome == AttemptOutcome.LOST else PhaseKind.RETRY
    state, number = call_state(call, now), 0
    # The attempt that stands on the call may have a row of its own already.
    is_over = bool(attempts) and attempts[-1].number == call.attempt
    if call.started_at is not None and call.started_at >= at and not is_over:
        yield Phase(wait, at, call.started_at)
        at, wait, number = call.started_at, PhaseKind.RUNNING, call.attempt
    elif wait is PhaseKind.RETRY and state in _DUE and call.due_at and at < call.due_at:
        yield Phase(wait, at, call.due_at)
        at, wait = call.due_at, PhaseKind.QUEUED
    outcome = "" if call.is_open else call.status
    yield Phase(wait, at, call.finished_at or now, number, outcome, is_open=call.is_open)
