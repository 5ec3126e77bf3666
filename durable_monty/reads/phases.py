"""What a call did when: queued, running, waiting. As far as its rows tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import models
from django.utils.translation import gettext as _, gettext_lazy

from durable_monty.kinds import kind_of
from durable_monty.models import Attempt, AttemptOutcome, Call, CallStatus
from durable_monty.wording.times import span


class PhaseKind(models.TextChoices):
    QUEUED = "queued", gettext_lazy("in the queue")
    RUNNING = "running", gettext_lazy("ran")
    PERSON = "person", gettext_lazy("waited for a person")
    SLEEP = "sleep", gettext_lazy("slept")
    RETRY = "retry", gettext_lazy("waited for its next attempt")


@dataclass(frozen=True, slots=True)
class Phase:
    """`outcome`: a status of the call, or an outcome of the attempt, with which it ended."""

    kind: PhaseKind
    start: datetime
    end: datetime
    attempt: int = 0
    outcome: str = ""
    is_open: bool = False

    def describe(self) -> str:
        """`attempt 2 ran 4.2 s: timed out`"""
        text = f"{self.kind.label} {span(self.end - self.start)}"
        if self.attempt:
            text = _("attempt %(number)d %(what)s") % {"number": self.attempt, "what": text}
        if self.is_open:
            return _("%(what)s so far") % {"what": text}
        return f"{text}: {_OUTCOMES[self.outcome]}" if self.outcome else text


def phases_of(call: Call, attempts: Sequence[Attempt], now: datetime) -> tuple[Phase, ...]:
    """`attempts`: its latest that gave no answer, by number."""
    found = tuple(phase for phase in _phases(call, attempts, now) if phase.end > phase.start)
    if found:
        return found
    kind, at = _first_wait(call), call.created_at
    return (Phase(kind, at, at, outcome="" if call.is_open else call.status),)


def _phases(call: Call, attempts: Sequence[Attempt], now: datetime) -> Iterator[Phase]:
    at, wait = call.created_at, _first_wait(call)
    for attempt in attempts:
        started = attempt.started_at or at
        yield Phase(wait, at, started)
        yield Phase(PhaseKind.RUNNING, started, attempt.ended_at, attempt.number, attempt.outcome)
        at = attempt.ended_at
        wait = PhaseKind.QUEUED if attempt.outcome == AttemptOutcome.LOST else PhaseKind.RETRY
    end, outcome = call.finished_at or now, "" if call.is_open else call.status
    number = 0
    if call.started_at is not None and call.started_at >= at and not _is_over(call, attempts):
        yield Phase(wait, at, call.started_at)
        at, wait, number = call.started_at, PhaseKind.RUNNING, call.attempt
    elif wait == PhaseKind.RETRY and call.is_open and call.due_at and at < call.due_at < now:
        yield Phase(wait, at, call.due_at)
        at, wait = call.due_at, PhaseKind.QUEUED
    yield Phase(wait, at, end, number, outcome, is_open=call.is_open)


def _is_over(call: Call, attempts: Sequence[Attempt]) -> bool:
    """Whether the attempt that stands on the call has a row of its own already."""
    return bool(attempts) and attempts[-1].number == call.attempt


def _first_wait(call: Call) -> PhaseKind:
    return PhaseKind(kind_of(call).first_phase)


_OUTCOMES = {
    **{status.value: status.label for status in CallStatus},
    **{outcome.value: outcome.label for outcome in AttemptOutcome},
}
