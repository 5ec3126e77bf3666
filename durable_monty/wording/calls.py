"""What pages and the doctor say about a call."""

from __future__ import annotations

from datetime import datetime

from django.utils.translation import gettext as _

from durable_monty.functions import DEFAULT_EXECUTOR, FUNCTION_REGISTRY, default_retry
from durable_monty.kinds import TIMER, kind_of
from durable_monty.models import Call, CallStatus
from durable_monty.reads.fleet import Fleet
from durable_monty.reads.open_calls import OpenCalls
from durable_monty.wording.times import SHORT, Telling


def max_attempts(function: str) -> int:
    entry = FUNCTION_REGISTRY.get(function)
    return (default_retry() if entry is None else entry.retry_policy).max_attempts


def _retry_text(call: Call, time: str) -> str:
    """`attempt 3 of 5, retries at 2:31 p.m.`"""
    number, most = call.failures + 1, max_attempts(call.function)
    facts = {"number": number, "most": most, "time": time}
    if number > most:  # this process does not have the function
        return _("attempt %(number)d, retries at %(time)s") % facts
    return _("attempt %(number)d of %(most)d, retries at %(time)s") % facts


def progress_text(call: Call) -> str:
    """What its running attempt last said: `40% done, frame 3`; empty, if nothing."""
    if call.status != CallStatus.SUBMITTED:
        return ""
    done = "" if call.progress is None else _("%(percent)d%% done") % _percent(call.progress)
    return ", ".join(text for text in (done, call.progress_message) if text)


def _percent(progress: float) -> dict[str, int]:
    return {"percent": int(100 * progress)}


def waits_for(call: Call, fleet: Fleet, now: datetime, telling: Telling = SHORT) -> str:
    """Whom or what an open call waits for: `a person`, `attempt 2 on host:123`,
    `attempt 3 of 5, retries at 2:31 p.m.`"""
    if kind_of(call) is TIMER and call.due_at is not None:
        return _("a sleep until %(time)s") % {"time": telling.at(call.due_at, now)}
    if call.status == CallStatus.PENDING and call.due_at is not None and call.due_at > now:
        return _retry_text(call, telling.at(call.due_at, now))
    if call.is_accepted:
        return _("attempt %(number)d on %(worker)s") % {
            "worker": "webhook",
            "number": call.attempt,
        }
    held = call.status == CallStatus.SUBMITTED and (call.due_at is None or call.due_at > now)
    if not held or call.worker is None:
        return _waited_for(call, fleet)
    if call.started_at is None:
        queue = call.worker if call.executor == DEFAULT_EXECUTOR else call.executor
        return _("the queue of %(worker)s") % {"worker": queue}
    facts = {"worker": engine_of(call) if call.job_id else call.worker, "number": call.attempt}
    return _("attempt %(number)d on %(worker)s") % facts


def engine_of(call: Call) -> str:
    """The name of the executor whose engine runs the job of a call."""
    if call.executor == DEFAULT_EXECUTOR and call.worker is not None:
        return call.worker.executor.partition(",")[0]
    return call.executor


def _waited_for(call: Call | OpenCalls, fleet: Fleet) -> str:
    kind = kind_of(call)
    if kind.is_run and (obstacle := fleet.obstacle(call.function, call.executor)):
        return _("a worker, but %(obstacle)s") % {"obstacle": obstacle}
    return str(kind.waits_for)


def group_text(calls: OpenCalls, fleet: Fleet) -> str:
    """`approve (a person)`, `3 encode_video (a worker)`"""
    called = calls.function if calls.count == 1 else f"{calls.count} {calls.function}"
    return f"{called} ({_waited_for(calls, fleet)})"
