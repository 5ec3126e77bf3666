"""What happens when a call is closed: somebody answers it, or its execution ends without it.

Every way takes these steps, in the transaction of its caller:

1. `wake` locks the executions in id order, and makes those due that wait for the answer.
2. The calls are locked in id order. What is no longer open, or outside the caller's fence, stays.
3. The columns of `closed` are written.
4. A failure is reported when the transaction has committed.

Two shortcuts do the same in one statement: `Database.settle` records results, and
`Database.commit` withdraws the calls of an execution that completes. The tests compare both with
this module. A call that is closed before it has a row is written with the
same columns, by `call_rows` and `copies`.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from django.db.models import Case, F, Q, Value, When

from durable_monty.models import AttemptOutcome, Call, CallStatus, Execution
from durable_monty.models.call import CallQuerySet
from durable_monty.models.execution import ACTIVE
from durable_monty.models.moment import MomentField
from durable_monty.operations import rows
from durable_monty.operations.answer import Answer, ClaimedCall, closed
from durable_monty.operations.attempts import end_attempt, schedule_retry
from durable_monty.operations.locks import locked
from durable_monty.operations.reports import report_failed_call
from durable_monty.operations.sql import as_uuid
from durable_monty.wakeups import announce


def wake(execution_ids: Collection[uuid.UUID], now: datetime, using: str) -> None:
    """Makes executions due. It must come before any write to a call."""
    # Every write locks executions first, in id order, and calls after them: else two writes could
    # wait for each other.
    executions = Execution.objects.using(using)
    ids = sorted(set(execution_ids))
    if not ids:
        return
    if len(ids) > 1:  # an UPDATE locks in the order in which it finds the rows
        list(locked(executions.filter(pk__in=ids).order_by("pk")).values_list("pk"))
    # The `due_at` of a claimed execution is its lease. Its worker sees `wakeups` when it commits.
    executions.filter(pk__in=ids).update(
        wakeups=F("wakeups") + 1,
        due_at=Case(
            When(claim=None, status__in=ACTIVE, then=Value(now, MomentField())),
            default=F("due_at"),
        ),
    )
    announce(using)


def close_calls(calls: CallQuerySet, answer: Answer | None, now: datetime, **note: Any) -> int:
    """Closes those of `calls` that are open, and returns their number."""
    return calls.open().update(**closed(answer, now), **note)


def close_call(
    call: Call, answer: Answer, fence: Q, now: datetime, using: str, **note: Any
) -> bool:
    """Closes a call and returns whether it was open within `fence`; if not, reads it again.

    `note`: the columns that say which person answered; only failures without one are reported.
    """
    calls = Call.objects.using(using).filter(fence, pk=call.pk)
    if not close_calls(calls, answer, now, **note):
        call.refresh_from_db(using=using)
        return False
    if answer.result is None and not note:
        report_failed_call(call, answer, using)
    return True


def close_attempt(  # noqa: PLR0917
    call: Call, answer: Answer, outcome: AttemptOutcome, fence: Q, now: datetime, using: str
) -> bool:
    """Closes a call, or schedules its next attempt if it has one; see `close_call`.

    `outcome`: that of the attempt, if the answer is an error.
    """
    if answer.retry_in is not None:
        is_done = schedule_retry(call, answer, fence, now, using)
    else:
        is_done = close_call(call, answer, fence, now, using)
    if is_done and answer.result is None:
        end_attempt(call, outcome, answer, now, using)
    return is_done


def close_claimed(
    results: Mapping[ClaimedCall, str], now: datetime, using: str
) -> set[ClaimedCall]:
    """Records results all at once, as far as their claims hold, and returns these claims."""
    if not results:
        return set()
    _now, found = rows.lock(
        Call,
        ("claim",),
        [claimed.pk for claimed in results],
        f"status = '{CallStatus.SUBMITTED}'",
        using=using,
    )
    locked = {(pk, claim and as_uuid(claim)) for pk, claim in found}
    columns = {
        claimed: closed(Answer(result), now)
        for claimed, result in results.items()
        if (claimed.pk, claimed.token) in locked
    }
    written = [(claimed.pk, *changes.values()) for claimed, changes in columns.items()]
    rows.update(Call, tuple(closed(Answer("null"), now)), written, using=using)
    return set(columns)


def close_open_calls(
    execution_ids: Collection[uuid.UUID], answer: Answer | None, now: datetime, using: str
) -> None:
    """Closes all open calls of executions that the caller has locked, sleeps too."""
    calls = Call.objects.using(using)
    open_calls = calls.filter(execution_id__in=execution_ids).open()
    pks = list(locked(open_calls.order_by("pk")).values_list("pk", flat=True))
    if pks:
        close_calls(calls.filter(pk__in=pks), answer, now)
