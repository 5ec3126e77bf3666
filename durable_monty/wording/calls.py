"""What pages and the doctor say about a call, in the active language."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from django.utils.translation import gettext as _, gettext_lazy

from durable_monty.functions import DEFAULT_EXECUTOR, policy_of
from durable_monty.kinds import kind_of
from durable_monty.models import AttemptOutcome, Call, CallStatus
from durable_monty.reads.call_state import CallState, call_state
from durable_monty.reads.fleet import Fleet, Obstacle
from durable_monty.reads.open_calls import OpenCalls
from durable_monty.reads.phases import Phase, PhaseKind
from durable_monty.wording.times import SHORT, MomentStyle, span

_PHASES = {
    PhaseKind.QUEUED: gettext_lazy("in the queue"),
    PhaseKind.RUNNING: gettext_lazy("ran"),
    PhaseKind.PERSON: gettext_lazy("waited for a person"),
    PhaseKind.SLEEP: gettext_lazy("slept"),
    PhaseKind.RETRY: gettext_lazy("waited for its next attempt"),
}
_OUTCOMES = {
    each.value: each.label for choices in (CallStatus, AttemptOutcome) for each in choices
}


class HasFunction(Protocol):
    """A call, or a group of calls of one function."""

    @property
    def function(self) -> str: ...

    @property
    def executor(self) -> str: ...


def waits_for(call: Call, fleet: Fleet, now: datetime, style: MomentStyle = SHORT) -> str:
    """Returns whom or what an open call waits for: `a person`, `attempt 2 on host:123`."""
    due = "" if call.due_at is None else style.at(call.due_at, now)
    match call_state(call, now):
        case CallState.SLEEPING | CallState.SLEEP_OVER:
            return _("a sleep until %(time)s") % {"time": due}
        case CallState.RETRYING:
            number, most = call.failures + 1, max_attempts(call)
            # The policy belongs to the worker's process: this one may not have the function.
            if number > most:
                text = _("attempt %(number)d, retries at %(time)s")
            else:
                text = _("attempt %(number)d of %(most)d, retries at %(time)s")
            return text % {"number": number, "most": most, "time": due}
        case CallState.CLAIMED if call.worker is not None:
            queue = call.worker if call.executor == DEFAULT_EXECUTOR else call.executor
            return _("the queue of %(worker)s") % {"worker": queue}
        case CallState.NEVER_DUE:
            return _("nothing, because it has no due time")
        case CallState.ACCEPTED:
            place = "webhook"
        case CallState.RUNNING if call.worker is not None:
            place = engine_of(call) if call.job_id else str(call.worker)
        case _:
            return _waits_for_kind(call, fleet)
    return _("attempt %(number)d on %(worker)s") % {"worker": place, "number": call.attempt}


def doing_text(call: Call, fleet: Fleet, now: datetime, style: MomentStyle = SHORT) -> str:
    """Returns whom an open call waits for, and how far its attempt is: `attempt 2 on host:123,
    40% done, frame 3`."""
    texts = [waits_for(call, fleet, now, style)]
    # What an earlier attempt has reported is kept on the call, and says nothing of the next one.
    if call_state(call, now) is CallState.RUNNING:
        if call.progress is not None:
            texts.append(_("%(percent)d%% done") % {"percent": int(100 * call.progress)})
        texts.append(call.progress_message)
    return ", ".join(filter(None, texts))


def group_text(calls: OpenCalls, fleet: Fleet) -> str:
    """Returns `approve (a person)` or `3 encode_video (a worker)`."""
    called = calls.function if calls.count == 1 else f"{calls.count} {calls.function}"
    return f"{called} ({_waits_for_kind(calls, fleet)})"


def phase_text(phase: Phase) -> str:
    """Returns `attempt 2 ran 4.2 s: Timed out` or `slept 30 min so far`."""
    text = f"{_PHASES[phase.kind]} {span(phase.end - phase.start)}"
    if phase.attempt:
        text = _("attempt %(number)d %(what)s") % {"number": phase.attempt, "what": text}
    if phase.is_open:
        return _("%(what)s so far") % {"what": text}
    return f"{text}: {_OUTCOMES[phase.outcome]}" if phase.outcome else text


def obstacle_text(call: HasFunction, fleet: Fleet) -> str:
    """Returns why no running worker takes a call; empty if one does."""
    match fleet.obstacle(call.function, call.executor):
        case None:
            return ""
        case Obstacle.NO_WORKER:
            return _("no worker is running")
        case Obstacle.NO_EXECUTOR:
            return _("no running worker has the executor '%(name)s'") % {"name": call.executor}
    return _("no running worker has the function '%(name)s'") % {"name": call.function}


def max_attempts(call: Call) -> int:
    return policy_of(call).retry_policy.max_attempts


def engine_of(call: Call) -> str:
    """Returns the name of the executor whose engine runs the job of a call."""
    if call.executor == DEFAULT_EXECUTOR and call.worker is not None:
        # A worker's own executor is the first of those that it names.
        return call.worker.executor.partition(",")[0]
    return call.executor


def _waits_for_kind(call: Call | OpenCalls, fleet: Fleet) -> str:
    kind = kind_of(call)
    if kind.is_run and (obstacle := obstacle_text(call, fleet)):
        return _("a worker, but %(obstacle)s") % {"obstacle": obstacle}
    return str(kind.waits_for)
