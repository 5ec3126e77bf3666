"""Ends calls whose first deadline has passed."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q

from durable_monty.functions import policy_of
from durable_monty.models import AttemptOutcome, Call
from durable_monty.models.clock import database_now
from durable_monty.operations.answer import Answer
from durable_monty.operations.close import close_attempt, wake
from durable_monty.operations.locks import lock_free
from durable_monty.operations.transactions import write

# The deadlines of a call, the most final first: its column, the time-out, the text, and whether
# only the attempt has failed.
_DEADLINES = (
    ("close_by", "schedule_to_close", "was not done", False),
    ("attempt_end_by", "start_to_close", "did not end", True),
    ("heartbeat_by", "heartbeat", "gave no sign of life", True),
    ("start_by", "schedule_to_start", "was not started", False),
)


def settle_overdue(limit: int, *, using: str) -> int:
    """Ends attempts and calls that have overrun their time, and returns their number.

    A function that still runs is not waited for: its claim is gone, so its answer is refused.
    """
    calls = Call.objects.using(using)
    overdue = calls.filter(deadline_at__lte=database_now(using)).order_by("deadline_at")[:limit]
    if not (found := sorted(overdue, key=lambda call: call.pk)):
        return 0
    with write(using):
        now = database_now(using)
        free = lock_free({call.execution_id for call in found}, using)
        answers = [(call, _timeout_of(call, now)) for call in found if call.execution_id in free]
        final = [call.execution_id for call, answer in answers if answer.retry_in is None]
        wake(final, now, using)
        timed_out, done = AttemptOutcome.TIMED_OUT, 0
        for call, answer in answers:
            unchanged = Q(claim=call.claim, deadline_at=call.deadline_at)
            done += close_attempt(call, answer, timed_out, unchanged, now, using)
        return done


def _timeout_of(call: Call, now: datetime) -> Answer:
    """Returns the error of the first deadline that has passed, under the retry policy."""
    policy = policy_of(call)
    past = [each for each in _DEADLINES if (at := getattr(call, each[0])) and at <= now]
    _column, name, text, fails_attempt = (past or _DEADLINES[-1:])[0]
    seconds = getattr(policy.timeouts, name)
    # Another version of this worker may have registered the function with a time-out.
    within = "in time" if seconds is None else f"within {seconds:g} seconds"
    why = f"{name.replace('_', '-')}: {call.function}() {text} {within}"
    answer = Answer.of_error("TimeoutError", why)
    if not fails_attempt:
        return answer
    return answer.under(policy.retry_policy, TimeoutError(why), call.failures + 1)
