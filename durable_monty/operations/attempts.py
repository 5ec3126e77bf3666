"""Attempts of calls: started, kept, given back, and ended without an answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import F, Q
from django.db.models.functions import Coalesce, Least

from durable_monty import codec
from durable_monty.durations import later
from durable_monty.functions import policy_of
from durable_monty.models import Attempt, AttemptOutcome, Call, CallStatus
from durable_monty.models.call import CallQuerySet
from durable_monty.models.clock import database_now
from durable_monty.operations import rows
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.locks import locked
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.schedule import after, lease
from durable_monty.operations.shortcuts import shortcuts_of
from durable_monty.operations.transactions import write
from durable_monty.wakeups import announce


def start_attempts(claims: Sequence[ClaimedCall], *, using: str) -> list[Call]:
    """Starts attempts, and returns the calls to run now: those whose claims still hold."""
    # Claiming is not starting: a call may have waited in a queue beyond its lease.
    started = shortcuts_of(using).start_attempts(claims) or []
    done = {call.pk for call in started}
    claims = [claimed for claimed in claims if claimed.pk not in done]
    if not claims:
        return sorted(started, key=lambda call: call.pk)
    with write(using):
        now = database_now(using)
        # A claim starts one attempt, should its message be delivered twice.
        fresh = _claimed(claims, using).filter(started_at=None)
        others = list(locked(fresh.order_by("pk")))
        for call in others:
            timeouts = policy_of(call).timeouts
            call.attempt += 1
            call.started_at, call.due_at, call.start_by = now, now + lease(), None
            call.attempt_end_by = after(now, timeouts.start_to_close)
            call.heartbeat_by = after(now, timeouts.heartbeat)
            call.note_deadline()
        values = [(call.pk, *(getattr(call, name) for name in _STARTED)) for call in others]
        rows.update(Call, _STARTED, values, using=using)
    return sorted([*started, *others], key=lambda call: call.pk)


_STARTED = (
    "attempt",
    "started_at",
    "due_at",
    "start_by",
    "attempt_end_by",
    "heartbeat_by",
    "deadline_at",
)


def unstart_attempts(claims: Sequence[ClaimedCall], *, using: str) -> None:
    """Gives back calls whose attempts were started, but whose functions were not called."""
    _release(claims, using, attempt=F("attempt") - 1, started_at=None)


def renew_calls(claims: Sequence[ClaimedCall], *, using: str) -> None:
    """Extends the leases of calls that run here, as far as their claims still hold."""
    with write(using):
        until = database_now(using) + lease()
        # Somebody may be answering one in a long transaction: the others do not wait for that.
        calls = lock_claimed(claims, using, waits=False)
        # A call that is due later does not run here any more: a service brings its answer.
        calls.filter(due_at__lt=until).update(due_at=until)


def beat_call(claimed: ClaimedCall, progress: float | None, message: str, *, using: str) -> bool:
    """Records a heartbeat of a running attempt; returns False if its claim no longer holds."""
    with write(using):
        calls = Call.objects.using(using).filter(pk=claimed.pk, claim=claimed.token).open()
        call = locked(calls).first()
        if call is None:
            return False
        now = database_now(using)
        call.heartbeat_by = after(now, policy_of(call).timeouts.heartbeat)
        call.note_deadline()
        note_progress(call, progress, message)
        call.save(
            using=using,
            update_fields=["heartbeat_by", "deadline_at", "progress", "progress_message"],
        )
    return True


def note_progress(call: Call | NewCall, progress: float | None, message: str) -> None:
    if progress is not None:
        call.progress = min(1.0, max(0.0, float(progress)))
    if message:
        call.progress_message = codec.clean_text(message, 500)


def release_calls(claims: Sequence[ClaimedCall], *, using: str) -> None:
    """Gives back calls that were claimed and will not be started here."""
    _release(claims, using)


def lose_calls(claims: Sequence[ClaimedCall], *, using: str) -> None:
    """Lets other workers claim calls at once whose jobs began and died; it counts as a loss."""
    with write(using):
        lock_claimed(claims, using).update(job_id="", due_at=database_now(using))
        announce(using)


def cut_off_calls(claims: Sequence[ClaimedCall], *, using: str) -> None:
    """Gives back calls whose functions still ran when their worker had to stop."""
    # Only an end that nobody explains is a loss.
    with write(using):
        now = database_now(using)
        started = lock_claimed(claims, using).filter(started_at__isnull=False)
        note_lost(list(started.order_by("pk")), "Its worker was stopped while it ran.", now, using)
        _release(claims, using, started_at=None)


def end_attempt(
    call: Call, outcome: AttemptOutcome, answer: Answer, now: datetime, using: str
) -> None:
    """Keeps the attempt of a call, as the call was before, if it had been started."""
    if call.status != CallStatus.SUBMITTED or call.started_at is None:
        return
    attempt = _attempt_of(
        call,
        outcome,
        now,
        error_type=answer.error_type,
        error_message=answer.error_message,
        error_traceback=answer.error_traceback,
    )
    attempt.save(using=using, force_insert=True)


def schedule_retry(call: Call, answer: Answer, fence: Q, now: datetime, using: str) -> bool:
    """Schedules the next attempt and returns whether the call was open within `fence`; if not,
    reads it again."""
    due_at = later(now, answer.retry_in or 0.0)
    start_by = after(due_at, policy_of(call).timeouts.schedule_to_start)
    call.start_by, call.attempt_end_by, call.heartbeat_by = start_by, None, None
    call.note_deadline()
    scheduled = (
        Call.objects.using(using)
        .filter(fence, pk=call.pk)
        .open()
        .update(
            status=CallStatus.PENDING,
            claim=None,
            job_id="",
            due_at=due_at,
            failures=F("failures") + 1,
            # An attempt that came to its end took no worker down.
            losses=0,
            start_by=start_by,
            attempt_end_by=None,
            heartbeat_by=None,
            deadline_at=call.deadline_at,
        )
    )
    if not scheduled:
        call.refresh_from_db(using=using)
    return bool(scheduled)


def note_lost(lost: Sequence[Call], why: str, now: datetime, using: str) -> None:
    """Keeps attempts whose workers did not finish them."""
    Attempt.objects.using(using).bulk_create(
        _attempt_of(call, AttemptOutcome.LOST, now, error_message=why) for call in lost
    )


def _attempt_of(call: Call, outcome: AttemptOutcome, now: datetime, **error: str) -> Attempt:
    return Attempt(
        call_id=call.pk,
        number=call.attempt,
        outcome=outcome,
        worker_id=call.worker_id,
        started_at=call.started_at,
        ended_at=now,
        **error,
    )


def _release(claims: Sequence[ClaimedCall], using: str, **changes: Any) -> None:
    with write(using):
        lock_claimed(claims, using).update(
            claim=None,
            status=CallStatus.PENDING,
            due_at=database_now(using),
            worker=None,
            job_id="",
            attempt_end_by=None,
            heartbeat_by=None,
            # The earlier of the two that are left; either may be null.
            deadline_at=Least(Coalesce("start_by", "close_by"), Coalesce("close_by", "start_by")),
            **changes,
        )
        announce(using)


def lock_claimed(claims: Sequence[ClaimedCall], using: str, *, waits: bool = True) -> CallQuerySet:
    """Returns the calls whose claims still hold, locked in id order as by every write."""
    found = locked(_claimed(claims, using).order_by("pk"), waits=waits)
    # Locked by a query first: an UPDATE locks in the order in which it finds the rows.
    return Call.objects.using(using).filter(pk__in=list(found.values_list("pk", flat=True)))


def _claimed(claims: Sequence[ClaimedCall], using: str) -> CallQuerySet:
    # One claim gives one token to many calls, and a call's token is never given twice.
    return (
        Call.objects.using(using)
        .filter(
            pk__in=[claimed.pk for claimed in claims],
            claim__in={claimed.token for claimed in claims},
        )
        .open()
    )
