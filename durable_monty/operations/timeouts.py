"""Time-outs: calls whose first deadline has passed."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q

from durable_monty.functions import policy_of
from durable_monty.models import AttemptOutcome, Call
from durable_monty.models.clock import database_now
from durable_monty.operations.answer import Answer
from durable_monty.operations.close import close_attempt, wake
from durable_monty.operations.transactions import write


def settle_overdue(limit: int, *, using: str) -> int:
    """Ends the attempts and calls that overran their time, and gives their number.

    What still runs is not waited for: its claim is gone, so its answer will be refused.
    """
    calls = Call.objects.using(using)
    overdue = calls.filter(deadline_at__lte=database_now(using)).order_by("deadline_at")[:limit]
    if not (found := sorted(overdue, key=lambda call: call.pk)):
        return 0
    with write(using):
        now = database_now(using)
        answers = [(call, _answer(call, now)) for call in found]
        final = [call.execution_id for call, answer in answers if answer.retry_in is None]
        wake(final, now, using)
        timed_out = AttemptOutcome.TIMED_OUT
        return sum(
            close_attempt(call, answer, timed_out, _unchanged(call), now, using)
            for call, answer in answers
        )


def _unchanged(call: Call) -> Q:
    return Q(claim=call.claim, deadline_at=call.deadline_at)


def _answer(call: Call, now: datetime) -> Answer:
    timeouts, name = policy_of(call).timeouts, call.function
    if _is_past(call.close_by, now):
        why = f"schedule-to-close: {name}() was not done {_within(timeouts.schedule_to_close)}"
        return _error(why)
    if _is_past(call.attempt_end_by, now):
        why = f"start-to-close: {name}() did not end {_within(timeouts.start_to_close)}"
        return _retried(call, _error(why))
    if _is_past(call.heartbeat_by, now):
        why = f"heartbeat: {name}() gave no sign of life {_within(timeouts.heartbeat)}"
        return _retried(call, _error(why))
    return _error(
        f"schedule-to-start: {name}() was not started {_within(timeouts.schedule_to_start)}"
    )


def _is_past(deadline: datetime | None, now: datetime) -> bool:
    return deadline is not None and deadline <= now


def _within(seconds: float | None) -> str:
    # Another version of this worker may have registered the function with it.
    return "in time" if seconds is None else f"within {seconds:g} seconds"


def _error(why: str) -> Answer:
    return Answer.of_error("TimeoutError", why)


def _retried(call: Call, answer: Answer) -> Answer:
    policy = policy_of(call).retry_policy
    return answer.under(policy, TimeoutError(answer.error_message), call.failures + 1)
