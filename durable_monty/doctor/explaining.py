"""Of one open call: whom it waits for, since when, and what can be done."""

from __future__ import annotations

from datetime import datetime

from durable_monty.kinds import PERSON, TIMER, kind_of
from durable_monty.models import Attempt, Call, CallStatus
from durable_monty.reads.fleet import Fleet
from durable_monty.wording.calls import engine_of, max_attempts
from durable_monty.wording.times import stamp


def explain_call(call: Call, fleet: Fleet, last: Attempt | None, now: datetime) -> str:
    """`last`: its last attempt that ended."""
    text = f"Call {call.call_id}, {call.function}(): {_state(call, fleet, last, now)}"
    if call.deadline_at is not None:
        text += f" It times out at {stamp(call.deadline_at, now)}."
    return text


def _state(call: Call, fleet: Fleet, last: Attempt | None, now: datetime) -> str:
    kind = kind_of(call)
    if kind is PERSON:
        return (
            f"waiting for a person since {stamp(call.created_at, now)}. Answer it in the admin, "
            f"or with OrchestratorService().complete_call({str(call.execution_id)!r}, "
            f"{call.call_id}, result)."
        )
    if call.due_at is None:
        return "it has no due time, so nobody will ever look at it."
    if kind is TIMER:
        if call.due_at > now:
            return f"sleeping until {stamp(call.due_at, now)}."
        return f"its sleep was over at {stamp(call.due_at, now)}. {_taker(fleet)}"
    if call.status == CallStatus.SUBMITTED:
        return _held(call, call.due_at, fleet, now)
    return _pending(call, call.due_at, fleet, last, now)


def _held(call: Call, due_at: datetime, fleet: Fleet, now: datetime) -> str:
    if call.is_accepted:
        return (
            f"attempt {call.attempt} was accepted by a service, which posts the answer to the "
            "webhook."
        )
    worker = call.worker
    name = "a worker" if worker is None else str(worker)
    if call.job_id:
        since = "" if call.started_at is None else f" since {stamp(call.started_at, now)}"
        looked_at = f"at {stamp(due_at, now)}" if due_at > now else "as soon as a worker is free"
        return (
            f"attempt {call.attempt} is with {engine_of(call)}{since}, as its job "
            f"{call.job_id}, which a worker asks about {looked_at}."
        )
    if due_at <= now:
        return (
            f"{name} had it and vanished: its lease ran out at {stamp(due_at, now)}. "
            f"{_takers(call, fleet)}"
        )
    if worker is not None and not worker.is_alive(now):
        return (
            f"held by {name}, whose heartbeat stopped at {stamp(worker.heartbeat_at, now)}. It "
            f"comes back at {stamp(due_at, now)}, when the lease runs out."
        )
    if call.started_at is None:
        return f"in the queue of {name}, not started yet; it comes back at {stamp(due_at, now)}."
    text = f"attempt {call.attempt} runs since {stamp(call.started_at, now)} on {name}"
    if call.progress is not None:
        text += f", {call.progress:.0%} done"
    if call.progress_message:
        text += f" ({call.progress_message})"
    if call.heartbeat_by is not None:
        text += f"; the next heartbeat must come before {stamp(call.heartbeat_by, now)}"
    return f"{text}."


def _pending(
    call: Call, due_at: datetime, fleet: Fleet, last: Attempt | None, now: datetime
) -> str:
    if due_at > now:
        text = f"a retry is due at {stamp(due_at, now)}"
    else:
        text = f"due since {stamp(due_at, now)}"
    if call.failures:
        text += f" (attempt {call.failures + 1} of {max_attempts(call.function)}"
        if last is not None:
            text += f"; the last one: {last.error_type}: {last.error_message}"
        text += ")"
    return f"{text}. {_takers(call, fleet)}"


def _takers(call: Call, fleet: Fleet) -> str:
    if not fleet.workers:
        return _taker(fleet)
    if why := fleet.obstacle(call.function, call.executor):
        return (
            f"But {why}: start a worker whose code registers it, in an installed app or "
            "DURABLE_MONTY['FUNCTION_MODULES']."
        )
    return "A worker takes it as soon as one is free."


def _taker(fleet: Fleet) -> str:
    if fleet.workers:
        return "A worker takes it as soon as one is free."
    return "But no worker is running: start one with manage.py runworker."
