"""Explains one open call: whom it waits for, since when, and what can be done about it."""

from __future__ import annotations

from datetime import datetime

from durable_monty.kinds import kind_of
from durable_monty.models import Attempt, Call
from durable_monty.reads.call_state import CallState, call_state
from durable_monty.reads.fleet import Fleet
from durable_monty.wording.calls import engine_of, max_attempts, obstacle_text
from durable_monty.wording.times import stamp


def explain_call(call: Call, fleet: Fleet, last: Attempt | None, now: datetime) -> str:
    """Returns sentences about an open call; `last` is its last attempt that has ended."""
    # Times of the clock and relative ones: the text is compared with logs.
    due = "" if call.due_at is None else stamp(call.due_at, now)
    match call_state(call, now):
        case CallState.PERSON:
            text = (
                f"waiting for a person since {stamp(call.created_at, now)}. Answer it in the "
                f"admin, or with OrchestratorService().complete_call({str(call.execution_id)!r}, "
                f"{call.call_id}, result)."
            )
        case CallState.SLEEPING:
            text = f"sleeping until {due}."
        case CallState.SLEEP_OVER:
            text = f"its sleep was over at {due}. {_who_takes(call, fleet)}"
        case CallState.QUEUED:
            text = f"due since {due}{_tries(call, last)}. {_who_takes(call, fleet)}"
        case CallState.RETRYING:
            text = f"a retry is due at {due}{_tries(call, last)}. {_who_takes(call, fleet)}"
        case CallState.ACCEPTED:
            text = (
                f"attempt {call.attempt} was accepted by a service, which posts the answer to "
                "the webhook."
            )
        case CallState.VANISHED:
            text = (
                f"{call.worker or 'a worker'} had it and vanished: its lease ran out at {due}. "
                f"{_who_takes(call, fleet)}"
            )
        case CallState.CLAIMED | CallState.RUNNING as state:
            text = _explain_worker(call, state, due, now)
        case state:
            since = f"waiting for {kind_of(call).waits_for} since {stamp(call.created_at, now)}."
            never = "it has no due time, so nobody will ever look at it."
            text = since if state is CallState.EXPECTED else never
    text = f"Call {call.call_id}, {call.function}(): {text}"
    if call.deadline_at is not None:
        text += f" It times out at {stamp(call.deadline_at, now)}."
    return text


def _explain_worker(call: Call, state: CallState, due: str, now: datetime) -> str:
    since = "" if call.started_at is None else f" since {stamp(call.started_at, now)}"
    worker = call.worker
    if call.job_id:
        # The engine runs a job whether or not the worker that submitted it is still alive.
        is_due = call.due_at is not None and call.due_at <= now
        return (
            f"attempt {call.attempt} is with {engine_of(call)}{since}, as its job {call.job_id}, "
            f"which a worker asks about {'as soon as one is free' if is_due else f'at {due}'}."
        )
    if worker is not None and not worker.is_alive(now):
        return (
            f"held by {worker}, whose heartbeat stopped at {stamp(worker.heartbeat_at, now)}. It "
            f"comes back at {due}, when the lease runs out."
        )
    name = worker or "a worker"
    if state is CallState.CLAIMED:
        return f"in the queue of {name}, not started yet; it comes back at {due}."
    text = f"attempt {call.attempt} runs{since} on {name}"
    if call.progress is not None:
        text += f", {call.progress:.0%} done"
    if call.progress_message:
        text += f" ({call.progress_message})"
    if call.heartbeat_by is not None:
        text += f"; the next heartbeat must come before {stamp(call.heartbeat_by, now)}"
    return f"{text}."


def _tries(call: Call, last: Attempt | None) -> str:
    if not call.failures:
        return ""
    why = "" if last is None else f"; the last one: {last.error_type}: {last.error_message}"
    return f" (attempt {call.failures + 1} of {max_attempts(call)}{why})"


def _who_takes(call: Call, fleet: Fleet) -> str:
    if not fleet.workers:
        return "But no worker is running: start one with manage.py runworker."
    # Any worker ends a sleep: only functions need one that has them.
    why = obstacle_text(call, fleet) if kind_of(call).is_run else ""
    if not why:
        return "A worker takes it as soon as one is free."
    return (
        f"But {why}: start a worker whose code registers it, in an installed app or "
        "DURABLE_MONTY['FUNCTION_MODULES']."
    )
