"""Recording answers: each in one transaction with the wake-up of its execution."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connections
from django.db.models import Case, F, Q, Value, When

from durable_monty.exceptions import (
    CallNotFound,
    CallSettled,
    DurableMontyError,
    ExecutionNotFound,
    LeaseLost,
)
from durable_monty.kinds import ANSWERED_WHEN_DUE, Kind
from durable_monty.models import AttemptOutcome, Call, CallStatus, Execution
from durable_monty.models.clock import database_now
from durable_monty.models.execution import ACTIVE
from durable_monty.models.moment import MomentField
from durable_monty.operations import sql
from durable_monty.operations.answer import Answer, ClaimedCall, by_hand
from durable_monty.operations.attempts import end_attempt, schedule_retry
from durable_monty.operations.postgresql.calls import settle_plain_results
from durable_monty.operations.reports import report_failed_call
from durable_monty.operations.sql import as_uuid
from durable_monty.operations.transactions import write
from durable_monty.wakeups import announce


def settle_attempt(claimed: ClaimedCall, answer: Answer, *, using: str) -> None:
    """As `settle_attempts`, of one; raises its refusal."""
    for refusal in settle_attempts([(claimed, answer)], using=using):
        raise refusal


def settle_attempts(
    answers: Sequence[tuple[ClaimedCall, Answer]], *, using: str
) -> list[DurableMontyError]:
    """Records what running functions gave and gives what was refused: in one transaction, on
    PostgreSQL after a statement that records the results whose claims hold.

    An error with attempts left schedules the next one; the execution does not see it. Saying the
    same again is fine (the first commit's acknowledgement may have been lost). An answer after
    the lease ran out is still taken while nobody else has claimed the call: `LeaseLost` if
    somebody has, `CallSettled` if it was answered or withdrawn, `CallNotFound` if it was deleted.
    """
    if connections[using].vendor == "postgresql":
        answers = _without_results(answers, using)
    if not answers:
        return []
    calls = Call.objects.using(using).in_bulk([claimed.pk for claimed, _answer in answers])
    refused: list[DurableMontyError] = []
    with write(using):
        now = database_now(using)
        # A claim that was lost never comes back: whoever holds none by now changes nothing.
        final = [
            calls[claimed.pk].execution_id
            for claimed, answer in answers
            if answer.retry_in is None and _is_held(calls.get(claimed.pk), claimed)
        ]
        wake(final, now, using)
        answers = sorted(answers, key=lambda item: item[0].pk)
        done = _settle_results(answers, calls, now, using)
        for claimed, answer in answers:
            call = calls.get(claimed.pk)
            if claimed in done:
                continue
            if call is None:
                refused.append(CallNotFound("(deleted)", claimed.pk))
            elif refusal := _settle_attempt(call, claimed, answer, now, using):
                refused.append(refusal)
    return refused


def _without_results(
    answers: Sequence[tuple[ClaimedCall, Answer]], using: str
) -> list[tuple[ClaimedCall, Answer]]:
    """Records the results whose claims hold, and gives the other answers."""
    results = [
        (claimed, answer.result) for claimed, answer in answers if answer.result is not None
    ]
    if not results:
        return list(answers)
    done = settle_plain_results(results, using=using)
    if done:
        announce(using)
    return [
        (claimed, answer)
        for claimed, answer in answers
        if answer.result is None or claimed.pk not in done
    ]


def _settle_results(
    answers: Sequence[tuple[ClaimedCall, Answer]],
    calls: Mapping[int, Call],
    now: datetime,
    using: str,
) -> set[ClaimedCall]:
    """Records the results whose claims hold, all at once, and gives their claims."""
    results = {
        claimed: answer.result
        for claimed, answer in answers
        if answer.result is not None and _is_held(calls.get(claimed.pk), claimed)
    }
    held = _lock_held(results, using)
    rows = [
        (claimed.pk, CallStatus.COMPLETED, results[claimed], now, None, None) for claimed in held
    ]
    columns = ("status", "result", "finished_at", "due_at", "deadline_at")
    sql.update(Call, columns, rows, using=using)
    return set(held)


def _lock_held(claims: Collection[ClaimedCall], using: str) -> list[ClaimedCall]:
    if not claims:
        return []
    _now, rows = sql.lock(
        Call,
        ("claim",),
        [claimed.pk for claimed in claims],
        f"status = '{CallStatus.SUBMITTED}'",
        using=using,
    )
    locked = {(pk, claim and as_uuid(claim)) for pk, claim in rows}
    return [claimed for claimed in claims if (claimed.pk, claimed.token) in locked]


def _is_held(call: Call | None, claimed: ClaimedCall) -> bool:
    return call is not None and call.is_open and call.claim == claimed.token


def _settle_attempt(
    call: Call, claimed: ClaimedCall, answer: Answer, now: datetime, using: str
) -> DurableMontyError | None:
    held = Q(claim=claimed.token)
    if answer.retry_in is not None:
        done = schedule_retry(call, answer, held, now, using)
    else:
        done = settle_open(call, answer, held, now, using)
    if done:
        if answer.result is None:
            end_attempt(call, AttemptOutcome.FAILED, answer, now, using)
        return None
    if call.claim == claimed.token and answer.is_on(call):
        return None
    return _refusal(call, answer)


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

    Raises `ExecutionNotFound`, `CallNotFound` or `CallSettled`; nothing is changed then.
    """
    if not Execution.objects.using(using).filter(pk=execution_id).exists():
        raise ExecutionNotFound(execution_id)
    call = _find(execution_id, call_id, using)
    with write(using):
        now = database_now(using)
        wake([call.execution_id], now, using)
        if not settle_open(call, answer, Q(), now, using, **by_hand(user, reason)):
            raise _refusal(call, answer)
    return call


def settle_timers(limit: int, *, using: str) -> int:
    """Answers the sleeps that are over, and gives their number."""
    return sum(_settle_due(kind, limit, using) for kind in ANSWERED_WHEN_DUE)


def _settle_due(kind: Kind, limit: int, using: str) -> int:
    calls = Call.objects.using(using).due(database_now(using)).filter(kind.rows)
    due = list(calls.order_by("due_at").values_list("execution_id", "pk")[:limit])
    if not due:
        return 0
    with write(using):
        now = database_now(using)
        wake([execution_id for execution_id, _pk in due], now, using)
        return (
            Call.objects.using(using)
            .filter(pk__in=[pk for _execution_id, pk in due])
            .open()
            .update(
                status=CallStatus.COMPLETED,
                result=kind.result_when_due,
                finished_at=now,
                due_at=None,
                deadline_at=None,
            )
        )


def _find(execution_id: uuid.UUID, call_id: int, using: str) -> Call:
    call = Call.objects.using(using).filter(execution_id=execution_id, call_id=call_id).first()
    if call is None:
        raise CallNotFound(execution_id, call_id)
    return call


def settle_open(
    call: Call, answer: Answer, fence: Q, now: datetime, using: str, **note: Any
) -> bool:
    """Whether the call was open to this answer; if not, `call` is read again."""
    settled = (
        Call.objects.using(using)
        .filter(fence, pk=call.pk)
        .open()
        .update(
            status=answer.status,
            result=answer.result,
            error_type=answer.error_type,
            error_message=answer.error_message,
            raised_as=answer.raised_as,
            error_traceback=answer.error_traceback,
            finished_at=now,
            due_at=None,
            deadline_at=None,
            **note,
        )
    )
    if not settled:
        call.refresh_from_db(using=using)
    elif answer.result is None and not note:  # a note says that a person answered
        report_failed_call(call, answer, using)
    return bool(settled)


def _refusal(call: Call, answer: Answer) -> LeaseLost | CallSettled:
    refusal: LeaseLost | CallSettled
    if call.is_open:
        refusal = LeaseLost(call.execution_id, call.call_id)
    else:
        refusal = CallSettled(call.execution_id, call.call_id, call.status, answer.status)
    refusal.function = call.function
    return refusal


def wake(execution_ids: Sequence[uuid.UUID], now: datetime, using: str) -> None:
    """Makes executions due; one that is being advanced sees `wakeups` when it commits.

    Before any call is touched: every write locks executions, then calls, each in id order.
    """
    executions = Execution.objects.using(using)
    ids = sorted(set(execution_ids))
    if not ids:
        return
    if len(ids) > 1:
        list(executions.filter(pk__in=ids).order_by("pk").select_for_update().values_list("pk"))
    executions.filter(pk__in=ids).update(
        wakeups=F("wakeups") + 1,
        due_at=Case(
            When(claim=None, status__in=ACTIVE, then=Value(now, MomentField())),
            default=F("due_at"),
        ),
    )
    announce(using)
