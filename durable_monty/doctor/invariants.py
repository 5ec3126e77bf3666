"""Checks of the invariants between executions, their calls and their wake-ups.

The constraints of the tables forbid the rest: a finished execution that is due or claimed, a
claim without a lease, two calls with one number, a delivered call without an answer.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta

from django.db.models import Count, Exists, F, OuterRef, Q

from durable_monty import conf
from durable_monty.doctor.findings import Check, Finding, Scope, counted
from durable_monty.kinds import KINDS, kind_of
from durable_monty.models import Call, CallStatus
from durable_monty.models.call import ACCEPTED
from durable_monty.models.execution import ACTIVE, FINISHED, UNFINISHED

# Processes may have other leases than this one, and a failed turn is put off by a minute at most.
_TOO_LONG = timedelta(minutes=2)


def lost_wakeups(scope: Scope) -> Iterator[Finding]:
    # An answer and its wake-up are one transaction: a worker cannot write one without the other.
    calls = scope.calls().undelivered()
    asleep = calls.filter(execution__status__in=ACTIVE, execution__due_at=None)
    groups = asleep.order_by("execution_id").values_list("execution_id").annotate(Count("pk"))
    for execution_id, count in scope.cut(groups):
        yield Finding(
            "lost-wake-up",
            "error",
            f"{counted(count, 'answer has', 'answers have')} come and no turn was given "
            f"{'it' if count == 1 else 'them'}, but nothing wakes the execution. Make it due "
            "(--fix).",
            execution_id,
            fixable=True,
        )


def never_due(scope: Scope) -> Iterator[Finding]:
    # A start inserts its execution as due. Only an answer could wake this one: it has no calls.
    asleep = scope.executions().active().filter(due_at=None, turn=0).order_by("pk")
    for execution_id in scope.cut(asleep.values_list("pk", flat=True)):
        yield Finding(
            "never-due",
            "error",
            "It has not run a turn, and no worker will ever look at it. Make it due (--fix).",
            execution_id,
            fixable=True,
        )


def stranded(scope: Scope) -> Iterator[Finding]:
    # A turn ends in the end of the workflow, or in at least one open call.
    of_execution = Call.objects.using(scope.using).filter(execution=OuterRef("pk"))
    asleep = scope.executions().active().filter(due_at=None, turn__gt=0)
    nothing = asleep.exclude(Exists(of_execution.open())).exclude(
        Exists(of_execution.undelivered())
    )
    for execution_id in scope.cut(nothing.order_by("pk").values_list("pk", flat=True)):
        yield Finding(
            "stranded",
            "error",
            "It waits, but none of its calls is open and no answer is left to deliver: rows of "
            "its journal are gone. Restore its calls from a backup, or terminate it and start "
            "it again.",
            execution_id,
        )


def open_calls_of_finished(scope: Scope) -> Iterator[Finding]:
    # The transaction that ends an execution withdraws its open calls.
    calls = scope.calls().open().filter(execution__status__in=FINISHED)
    groups = calls.order_by("execution_id").values_list("execution_id").annotate(Count("pk"))
    for execution_id, count in scope.cut(groups):
        yield Finding(
            "open-call-of-finished",
            "error",
            f"It has finished, but {counted(count, 'call is', 'calls are')} still open and may "
            "be run or shown to people. Withdraw what is open (--fix).",
            execution_id,
            fixable=True,
        )


def calls_never_due(scope: Scope) -> Iterator[Finding]:
    # Workers find calls by their due time alone.
    calls = scope.calls().open().filter(due_at=None, execution__status__in=UNFINISHED)
    for kind in KINDS:
        if not kind.undue:
            calls = calls.exclude(kind.rows)
    rows = calls.order_by("pk").values_list(
        "execution_id", "call_id", "kind", "executor", "function", named=True
    )
    for call in scope.cut(rows):
        yield Finding(
            "call-never-due",
            "error",
            f"{call.function}() is open but has no due time. {kind_of(call).undue}. "
            "Make it due (--fix).",
            call.execution_id,
            call.call_id,
            fixable=True,
        )


def calls_claimed_wrongly(scope: Scope) -> Iterator[Finding]:
    # A claim writes both columns in one statement, and giving it up resets both.
    wrong = Q(status=CallStatus.PENDING, claim__isnull=False) | Q(
        status=CallStatus.SUBMITTED, claim=None
    )
    calls = scope.calls().open().filter(wrong).order_by("pk")
    for execution_id, call_id, function, status in scope.cut(
        calls.values_list("execution_id", "call_id", "function", "status")
    ):
        how = "without a claim" if status == CallStatus.SUBMITTED else "but still claimed"
        yield Finding(
            "call-claim",
            "warning",
            f"{function}() is {status} {how}. Make it pending, without a claim (--fix).",
            execution_id,
            call_id,
            fixable=True,
        )


def calls_with_wrong_deadline(scope: Scope) -> Iterator[Finding]:
    # Workers look for time-outs by `deadline_at` alone, which has the index.
    reasons = ("start_by", "attempt_end_by", "heartbeat_by", "close_by")
    some, later, none = Q(), Q(), Q(deadline_at__isnull=False)
    for reason in reasons:
        some |= Q(**{f"{reason}__isnull": False})
        later |= Q(deadline_at__gt=F(reason))
        none &= Q(**{reason: None})
    wrong = (some & Q(deadline_at=None)) | later | none
    calls = scope.calls().open().filter(wrong).order_by("pk")
    for execution_id, call_id, function in scope.cut(
        calls.values_list("execution_id", "call_id", "function")
    ):
        yield Finding(
            "call-deadline",
            "error",
            f"The first deadline of {function}() is not the least of its time-outs, so it will "
            "not time out when it should. Work it out again (--fix).",
            execution_id,
            call_id,
            fixable=True,
        )


def due_too_late(scope: Scope) -> Iterator[Finding]:
    late = scope.now + max(_TOO_LONG, 2 * timedelta(seconds=conf.current().LEASE))
    executions = scope.executions().active().filter(due_at__gt=late).order_by("pk")
    calls = scope.calls().open().filter(status=CallStatus.SUBMITTED, due_at__gt=late)
    # An accepted call is due after its time-out, which may be days away.
    calls = calls.exclude(job_id__endswith=ACCEPTED)
    for execution_id, due_at in scope.cut(executions.values_list("pk", "due_at")):
        yield _due_too_late(scope.when(due_at), "The execution", execution_id, None)
    for execution_id, call_id, function, due_at in scope.cut(
        calls.order_by("pk").values_list("execution_id", "call_id", "function", "due_at")
    ):
        yield _due_too_late(scope.when(due_at), f"{function}()", execution_id, call_id)


def pauses_unheeded(scope: Scope) -> Iterator[Finding]:
    # The request waits for the commit of a turn; where no turn runs, an execution pauses at once.
    unpaused = scope.executions().active().filter(pause_requested=True, due_at=None)
    for execution_id in scope.cut(unpaused.order_by("pk").values_list("pk", flat=True)):
        yield Finding(
            "pause-unheeded",
            "warning",
            "It is to pause after its turn, and no turn of it runs. Pause it (--fix).",
            execution_id,
            fixable=True,
        )


def cancels_without_grace(scope: Scope) -> Iterator[Finding]:
    # The end of the grace is the only thing that ends a clean-up which hangs.
    endless = scope.executions().unfinished()
    endless = endless.filter(cancel_requested_at__isnull=False, grace_until=None)
    for execution_id, requested_at in scope.cut(
        endless.order_by("pk").values_list("pk", "cancel_requested_at")
    ):
        yield Finding(
            "cancel-without-grace",
            "error",
            f"It was cancelled at {scope.when(requested_at)}, but its clean-up may last for "
            "ever. End it after the usual grace (--fix).",
            execution_id,
            fixable=True,
        )


def _due_too_late(
    when: str, subject: str, execution_id: uuid.UUID, call_id: int | None
) -> Finding:
    return Finding(
        "due-too-late",
        "error",
        f"{subject} is held until {when}, far longer than a lease lasts: was the clock of the "
        "database set back? Shorten it to a lease from now (--fix).",
        execution_id,
        call_id,
        fixable=True,
    )


STATE: Sequence[Check] = (
    lost_wakeups,
    never_due,
    stranded,
    open_calls_of_finished,
    calls_never_due,
    calls_claimed_wrongly,
    calls_with_wrong_deadline,
    due_too_late,
    pauses_unheeded,
    cancels_without_grace,
)
