"""Taking due rows: each claim is one short transaction over a batch.

A claim is a random token and a lease in `due_at`: the claim of a dead worker comes back by
itself, and whoever lost its token finds that its write changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from django.db.models import F

from durable_monty import conf
from durable_monty.models import Call, CallStatus, Execution
from durable_monty.models.call import ENGINE, CallQuerySet
from durable_monty.models.clock import database_now
from durable_monty.operations.transactions import write


@dataclass(frozen=True, slots=True)
class ClaimedCall:
    """A call that this process may start, once, by its `token`."""

    pk: int
    token: uuid.UUID

    @classmethod
    def of(cls, call: Call) -> Self:
        assert call.claim is not None  # noqa: S101  (only claimed calls are started)
        return cls(call.pk, call.claim)


def claim_executions(
    limit: int, *, using: str, worker_id: int | None = None, only: uuid.UUID | None = None
) -> list[Execution]:
    """Claims due executions, longest due first; `only`: that one, unless it is claimed."""
    executions = Execution.objects.using(using)
    if only is None and not executions.due(database_now(using)).exists():
        return []  # found without a write transaction, of which SQLite has one at a time
    with write(using):
        now = database_now(using)
        if only is None:
            wanted = executions.due(now).order_by("due_at")
        else:
            free = executions.filter(claim=None) | executions.due(now)
            wanted = free.active().filter(pk=only)
        # Without SKIP LOCKED (SQLite) the transaction itself keeps other claims out.
        claimed = list(
            wanted.prefetch_related("program").select_for_update(skip_locked=True)[:limit]
        )
        token, lease = uuid.uuid4(), now + _lease()
        executions.filter(pk__in=[execution.pk for execution in claimed]).update(
            claim=token, due_at=lease, worker_id=worker_id
        )
        for execution in claimed:
            execution.claim, execution.due_at, execution.worker_id = token, lease, worker_id
    return claimed


def claim_calls(
    functions: Collection[str],
    executors: Collection[str],
    limit: int,
    *,
    using: str,
    worker_id: int | None = None,
) -> list[ClaimedCall]:
    """Claims due calls of these functions and executors, longest due first.

    A call that was claimed before is due again only when its lease has run out.
    """
    if limit <= 0 or not functions:
        return []
    calls = Call.objects.using(using)
    wanted = calls.filter(executor__in=executors, function__in=functions, job_id="")
    if not wanted.due(database_now(using)).exists():
        return []
    with write(using):
        now = database_now(using)
        claimed = list(
            wanted.due(now)
            .order_by("due_at")
            .select_for_update(skip_locked=True)
            .values_list("pk", flat=True)[:limit]
        )
        token = uuid.uuid4()
        calls.filter(pk__in=claimed).update(
            claim=token,
            status=CallStatus.SUBMITTED,
            due_at=now + _lease(),
            worker_id=worker_id,
        )
    return [ClaimedCall(pk, token) for pk in claimed]


def start_attempts(claims: Sequence[ClaimedCall], *, using: str) -> list[Call]:
    """The calls to run now; those whose claim is no longer ours are missing.

    Claiming is not starting: a call may have waited in a queue beyond its lease.
    """
    with write(using):
        now = database_now(using)
        mine = _ours(claims, using)
        mine.update(attempt=F("attempt") + 1, started_at=now, due_at=now + _lease())
        return list(mine.order_by("pk"))


def renew_calls(claims: Sequence[ClaimedCall], *, using: str) -> None:
    """Extends the leases of calls that are running here; those lost meanwhile stay lost."""
    with write(using):
        _ours(claims, using).update(due_at=database_now(using) + _lease())


def release_calls(claims: Sequence[ClaimedCall], *, using: str) -> None:
    """Gives back calls that were claimed and will not be started here."""
    with write(using):
        _ours(claims, using).update(
            claim=None,
            status=CallStatus.PENDING,
            due_at=database_now(using),
            worker=None,
            job_id="",
        )


def watch_job(claimed: ClaimedCall, job_id: str, interval: float, *, using: str) -> None:
    """Notes where a call runs, and that somebody must ask for it in `interval` seconds."""
    with write(using):
        due_at = database_now(using) + timedelta(seconds=interval)
        _ours([claimed], using).update(job_id=job_id, due_at=due_at)


def claim_jobs(executors: Collection[str], limit: int, *, using: str) -> list[Call]:
    """Claims the calls whose jobs are to be asked for."""
    jobs = Call.objects.using(using).filter(executor__in=executors).exclude(job_id="")
    if not jobs.due(database_now(using)).exists():
        return []
    with write(using):
        now = database_now(using)
        claimed = list(
            jobs.due(now).order_by("due_at").select_for_update(skip_locked=True)[:limit]
        )
        token = uuid.uuid4()
        Call.objects.using(using).filter(pk__in=[call.pk for call in claimed]).update(
            claim=token, due_at=now + _lease()
        )
    for call in claimed:
        call.claim = token
    return claimed


def due_timers(limit: int, *, using: str) -> list[tuple[uuid.UUID, int]]:
    """(execution id, call pk) of sleeps that are over."""
    calls = Call.objects.using(using)
    due = calls.due(database_now(using)).filter(executor=ENGINE).order_by("due_at")
    return list(due.values_list("execution_id", "pk")[:limit])


def _ours(claims: Sequence[ClaimedCall], using: str) -> CallQuerySet:
    """The calls that these claims still hold, locked in id order, as every write does."""
    calls = Call.objects.using(using)
    # One claim gives one token to many calls, and a call's token is never given twice.
    held = calls.filter(
        pk__in=[claimed.pk for claimed in claims],
        claim__in={claimed.token for claimed in claims},
    ).open()
    return calls.filter(
        pk__in=list(held.order_by("pk").select_for_update().values_list("pk", flat=True))
    )


def _lease() -> timedelta:
    return timedelta(seconds=conf.current().LEASE)
