"""Recording answers: each in one transaction with the wake-up of its execution."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from typing import Any

from django.db.models import Q

from durable_monty.exceptions import CallNotFound, CallSettled, DurableMontyError, LeaseLost
from durable_monty.kinds import ANSWERED_WHEN_DUE
from durable_monty.models import AttemptOutcome, Call, Execution
from durable_monty.models.clock import database_now
from durable_monty.operations.answer import Answer, ClaimedCall, by_hand
from durable_monty.operations.close import (
    close_attempt,
    close_call,
    close_calls,
    close_claimed,
    wake,
)
from durable_monty.operations.find import find_call, find_execution
from durable_monty.operations.locks import lock_free
from durable_monty.operations.log import log_calls
from durable_monty.operations.shortcuts import shortcuts_of
from durable_monty.operations.transactions import may_pass, write
from durable_monty.wakeups import announce

Answered = tuple[ClaimedCall, Answer]


def settle_attempt(claimed: ClaimedCall, answer: Answer, *, using: str) -> None:
    """Settles one attempt; raises instead of returning the refusal of `settle_attempts`."""
    for refusal in settle_attempts([(claimed, answer)], using=using):
        raise refusal


def settle_attempts(
    answers: Sequence[Answered], *, using: str, blocked: list[Answered] | None = None
) -> list[DurableMontyError]:
    """Records the answers of running functions, and returns the refusals.

    An error with attempts left schedules the next one; the execution does not see it. The refusal
    is `LeaseLost` if another worker has claimed the call, `CallSettled` if it was answered or
    withdrawn, and `CallNotFound` if it was deleted.

    `blocked` takes the answers to record later, because another transaction has locked their
    executions. Without it, this waits for that transaction.
    """
    recorded = settle_results(answers, using=using)
    # In the order of the calls' keys, in which every write locks them.
    answers = sorted(
        [(claimed, answer) for claimed, answer in answers if claimed.pk not in recorded],
        key=lambda item: item[0].pk,
    )
    if not answers:
        return []
    calls = Call.objects.using(using).in_bulk([claimed.pk for claimed, _answer in answers])
    refused: list[DurableMontyError] = []
    left: list[Answered] = []
    with write(using):
        now = database_now(using)
        if blocked is not None:
            free = lock_free({call.execution_id for call in calls.values()}, using)
            left = [
                (claimed, answer)
                for claimed, answer in answers
                if (call := calls.get(claimed.pk)) and call.execution_id not in free
            ]
            answers = [item for item in answers if item not in left]
        # A claim that was lost never comes back: whoever holds none by now changes nothing.
        final = {
            claimed: answer.result
            for claimed, answer in answers
            if answer.retry_in is None
            and (call := calls.get(claimed.pk)) is not None
            and call.is_open
            and call.claim == claimed.token
        }
        wake([calls[claimed.pk].execution_id for claimed in final], now, using)
        results = {claimed: text for claimed, text in final.items() if text is not None}
        done = close_claimed(results, now, using)
        for claimed, answer in answers:
            call = calls.get(claimed.pk)
            if claimed in done:
                continue
            if call is None:
                refused.append(CallNotFound("(deleted)", claimed.pk))
                continue
            # Not the lease is the fence: a late answer counts while nobody else has the call.
            fence, failed = Q(claim=claimed.token), AttemptOutcome.FAILED
            if close_attempt(call, answer, failed, fence, now, using):
                continue
            # The same answer again is fine: the first commit's acknowledgement may be lost.
            if call.claim != claimed.token or not answer.is_on(call):
                refused.append(_refusal(call, answer))
    if blocked is not None:
        blocked += left
    return refused


def settle_results(answers: Sequence[Answered], *, using: str) -> set[int]:
    """Records results by a shortcut, and returns the keys of their calls.

    It records those whose claims hold and whose executions nobody has locked. The portable code
    takes the others, and errors.
    """
    results = [
        (claimed, answer.result) for claimed, answer in answers if answer.result is not None
    ]
    done = shortcuts_of(using).settle(results) if results else None
    if done:
        announce(using)
    return done or set()


def record_answers(
    answers: Sequence[Answered], *, using: str, blocked: list[Answered] | None = None
) -> list[DurableMontyError]:
    """Settles attempts and returns the refusals, as `settle_attempts` does.

    If the database refuses the batch, each answer is recorded by itself, and the call whose answer
    it refuses fails with the reason. Raises while the database is out of reach, full or read-only:
    then nothing is decided.
    """
    try:
        return settle_attempts(answers, using=using, blocked=blocked)
    except Exception as exc:
        if may_pass(exc):
            raise
        if len(answers) > 1:
            each = [record_answers([answer], using=using, blocked=blocked) for answer in answers]
            return [refusal for refused in each for refusal in refused]
        log_calls(logging.ERROR, "answer cannot be recorded", [answers[0][0]], exc, exc)
        message = f"The database refused the answer: {type(exc).__name__}: {exc}"
        error = Answer.of_error("RuntimeError", message)
    try:
        return settle_attempts([(answers[0][0], error)], using=using, blocked=blocked)
    except Exception as exc:
        if may_pass(exc):
            raise
        log_calls(logging.ERROR, "call left to its lease", [answers[0][0]], exc, exc)
        return []


def settle_by_hand(
    execution_id: uuid.UUID,
    call_id: int,
    answer: Answer,
    *,
    using: str,
    user: Any = None,
    reason: str = "",
) -> Call:
    """Records an answer from outside, whoever may be running the call.

    Raises `ExecutionNotFound`, `CallNotFound`, `CallSettled`, or `WrongResult` for a result that
    does not fit the function's annotation; nothing is changed then.
    """
    find_execution(execution_id, Execution.objects.using(using).only("pk"))
    call = find_call(execution_id, call_id, using)
    answer = answer.fit(call.function)
    with write(using):
        now = database_now(using)
        wake([call.execution_id], now, using)
        if not close_call(call, answer, Q(), now, using, **by_hand(user, reason)):
            raise _refusal(call, answer)
    return call


def settle_timers(limit: int, *, using: str) -> int:
    """Answers the calls that the engine answers when they are due, and returns their number."""
    calls, done = Call.objects.using(using), 0
    for kind in ANSWERED_WHEN_DUE:
        due = calls.due(database_now(using)).filter(kind.rows).order_by("due_at")
        found = list(due.values_list("execution_id", "pk")[:limit])
        if not found:
            continue
        with write(using):
            now = database_now(using)
            free = lock_free({execution_id for execution_id, _pk in found}, using)
            wake(free, now, using)
            over = calls.filter(pk__in=[pk for _, pk in found], execution_id__in=free)
            done += close_calls(over, Answer(kind.result_when_due), now)
    return done


def _refusal(call: Call, answer: Answer) -> LeaseLost | CallSettled:
    refusal: LeaseLost | CallSettled
    if call.is_open:
        refusal = LeaseLost(call.execution_id, call.call_id)
    else:
        refusal = CallSettled(call.execution_id, call.call_id, call.status, answer.status)
    refusal.function = call.function
    return refusal
