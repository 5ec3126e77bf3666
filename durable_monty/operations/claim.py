"""Claiming due rows: each claim is one short transaction over a batch.

A claim is a random token and a lease in `due_at`. The claim of a dead worker ends by itself, and a
worker whose claim another has taken finds that its write changes nothing.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime

from django.db.models import Case, F, Q, When

from durable_monty.functions import policy_of
from durable_monty.models import Call, CallStatus, Execution
from durable_monty.models.clock import database_now
from durable_monty.models.execution import ExecutionQuerySet
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.attempts import lock_claimed, note_lost
from durable_monty.operations.close import close_call, wake
from durable_monty.operations.locks import lock_free, locked
from durable_monty.operations.schedule import lease
from durable_monty.operations.shortcuts import shortcuts_of
from durable_monty.operations.transactions import write
from durable_monty.wakeups import announce

# Attempts in a row whose worker vanished: a fourth would take another worker down.
MAX_LOSSES = 3

# Seconds for which the shortcut may go first. It claims only calls that nobody has claimed before.
_PORTABLE_EVERY = 0.5
_portable_at: dict[str, float] = defaultdict(float)

# The number of due executions among which `claim_lost` searches.
_SEARCHED = 100


def claim_executions(
    limit: int,
    *,
    using: str,
    worker_id: int | None = None,
    only: uuid.UUID | None = None,
    fresh: bool = False,
) -> list[Execution]:
    """Claims due executions, longest due first.

    `only` claims that one unless a worker has it, due or not. `fresh` claims none that was lost or
    whose last run failed.
    """
    executions = Execution.objects.using(using)
    if only is None:
        due = executions.due(database_now(using)).order_by("due_at")  # by the index, in any case
        if not due.values_list("pk")[:1]:
            return []  # found without a write transaction, of which SQLite has one at a time
    with write(using):
        now = database_now(using)
        if only is None:
            wanted = executions.due(now).order_by("due_at")
            if fresh:
                wanted = wanted.filter(claim=None, faults=0)
        else:
            free = executions.filter(claim=None) | executions.due(now)
            wanted = free.active().filter(pk=only)
        # `select_related` would lock the program too, and SKIP LOCKED skip its other executions.
        # Without SKIP LOCKED (SQLite) the transaction itself keeps other claims out.
        claimed = list(locked(wanted.prefetch_related("program"), waits=False)[:limit])
        # An execution that was claimed and not committed may have ended its worker. It is claimed
        # alone, so that it takes no others with it, and each such claim counts as a fault.
        claimed = [row for row in claimed if row.claim or row.faults][:1] or claimed
        token, lease_ends = uuid.uuid4(), now + lease()
        for execution in claimed:
            execution.was_lost = execution.claim is not None
            execution.faults += execution.was_lost
            execution.claim, execution.due_at, execution.worker_id = token, lease_ends, worker_id
            execution.claimed_at = now
        executions.filter(pk__in=[execution.pk for execution in claimed]).update(
            # First: MySQL assigns from left to right, and would see the new claim.
            faults=F("faults") + Case(When(claim=None, then=0), default=1),
            claim=token,
            due_at=lease_ends,
            worker_id=worker_id,
        )
    return claimed


def claim_lost(*, using: str, worker_id: int | None = None) -> Execution | None:
    """Claims an execution that was lost or whose last run failed, if one is due."""
    # A claim of `fresh` ones leaves these out: without this one they could wait for ever. The
    # number of rows that it reads is limited, and those that are due for longest come first.
    executions = Execution.objects.using(using)
    due = executions.due(database_now(using)).order_by("due_at")
    for pk, claim, faults in due.values_list("pk", "claim", "faults")[:_SEARCHED]:
        if claim or faults:
            claimed = claim_executions(1, using=using, worker_id=worker_id, only=pk)
            if claimed:
                return claimed[0]
    return None


def renew_executions(claimed: Sequence[Execution], *, using: str) -> None:
    """Extends leases, but not of executions that other workers have claimed meanwhile."""
    with write(using):
        # One that is locked cannot be claimed meanwhile, and the others do not wait for it.
        ours = _lock_claimed(claimed, using, waits=False)
        ours.update(due_at=database_now(using) + lease())


def give_back_executions(claimed: Sequence[Execution], *, using: str) -> None:
    """Gives up claims, so that the executions are due at once."""
    with write(using):
        ours = _lock_claimed(claimed, using)
        # This is no fault of theirs. But calls of the last turn may run that have no rows: after a
        # first fault the next run searches for them.
        ours.filter(turn__gt=0, faults=0).update(faults=1)
        ours.update(claim=None, due_at=database_now(using))
        announce(using)


def _lock_claimed(
    claimed: Sequence[Execution], using: str, *, waits: bool = True
) -> ExecutionQuerySet:
    """Locks the executions whose claims still hold, in id order, as every write does."""
    executions = Execution.objects.using(using)
    claims = executions.filter(
        pk__in=[execution.pk for execution in claimed],
        claim__in={execution.claim for execution in claimed},
    )
    found = locked(claims.active().order_by("pk"), waits=waits)
    return executions.filter(pk__in=list(found.values_list("pk", flat=True)))


def claim_calls(
    functions: Collection[str],
    executors: Collection[str],
    limit: int,
    *,
    using: str,
    worker_id: int | None = None,
) -> list[ClaimedCall]:
    """Claims due calls of these functions and executors, longest due first.

    A call that was claimed before is due again only when its lease has run out. An attempt that
    had been started then is lost. A call that lost `MAX_LOSSES` in a row fails instead.
    """
    if limit <= 0 or not functions:
        return []
    if time.monotonic() < _portable_at[using]:
        first = shortcuts_of(using).claim_calls(functions, executors, limit, worker_id)
        if first:
            return first
    _portable_at[using] = time.monotonic() + _PORTABLE_EVERY
    calls = Call.objects.using(using)
    wanted = calls.filter(executor__in=executors, function__in=functions, job_id="")
    if not wanted.due(database_now(using)).exists():
        return []
    with write(using):
        now = database_now(using)
        claimed = list(
            locked(wanted.due(now).order_by("due_at"), waits=False)
            .filter(Q(deadline_at=None) | Q(deadline_at__gt=now))
            .only(
                "execution", "function", "status", "attempt", "losses", "started_at", "worker_id"
            )[:limit]
        )
        lost = [call for call in claimed if call.started_at and call.status != CallStatus.PENDING]
        poison = [call for call in lost if call.losses + 1 >= MAX_LOSSES]
        kept = [call for call in claimed if call not in poison]
        token, lease_ends = uuid.uuid4(), now + lease()
        calls.filter(pk__in=[call.pk for call in kept]).update(
            claim=token,
            status=CallStatus.SUBMITTED,
            due_at=lease_ends,
            started_at=None,
            worker_id=worker_id,
        )
        _note_losses([call for call in lost if call not in poison], now, using)
        # Still as the lost attempt left them: should this process end now, the next one sees it.
        calls.filter(pk__in=[call.pk for call in poison]).update(claim=token, due_at=lease_ends)
    if poison:
        _give_up(poison, token, using)
    return [
        # A call that was tried before may have ended its process: it is run without others.
        ClaimedCall(
            call.pk,
            token,
            alone=policy_of(call).needs_its_row or call.losses > 0 or call.started_at is not None,
        )
        for call in kept
    ]


def _give_up(poison: Sequence[Call], token: uuid.UUID, using: str) -> None:
    """Fails calls that may have ended their workers."""
    # In a transaction of its own: executions are locked before calls, and the claim has locked
    # the calls already.
    claims = [ClaimedCall(call.pk, token) for call in poison]
    with write(using):
        now = database_now(using)
        # Calls of the others are found again when this claim has run out.
        free = lock_free({call.execution_id for call in poison}, using)
        wake(free, now, using)
        ours = lock_claimed(claims, using).filter(execution_id__in=free)
        claimed = list(ours.order_by("pk"))
        _note_losses(claimed, now, using)
        for call in claimed:
            message = (
                f"{call.function}() was given up: its worker vanished {MAX_LOSSES} times in a row "
                "while it ran. It may be what kills the process."
            )
            error = Answer.of_error("RuntimeError", message)
            close_call(call, error, Q(claim=token), now, using)


def _note_losses(lost: Sequence[Call], now: datetime, using: str) -> None:
    if not lost:
        return
    note_lost(lost, "Its worker vanished: the lease ran out.", now, using)
    Call.objects.using(using).filter(pk__in=[call.pk for call in lost]).update(
        losses=F("losses") + 1,
        attempt_end_by=None,
        heartbeat_by=None,
        deadline_at=F("close_by"),
    )
