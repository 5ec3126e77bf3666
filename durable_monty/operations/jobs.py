"""Calls whose functions run as jobs of an engine."""

from __future__ import annotations

from collections.abc import Collection

from durable_monty.durations import later
from durable_monty.models import Call
from durable_monty.models.call import ACCEPTED
from durable_monty.models.clock import database_now
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.attempts import lock_claimed
from durable_monty.operations.locks import locked
from durable_monty.operations.schedule import after, lease
from durable_monty.operations.transactions import write


def watch_job(claimed: ClaimedCall, job_id: str, interval: float, *, using: str) -> None:
    """Records the job of a call, which a worker must poll in `interval` seconds."""
    with write(using):
        due_at = later(database_now(using), interval)
        lock_claimed([claimed], using).update(job_id=job_id, due_at=due_at)


def claim_jobs(executors: Collection[str], limit: int, *, using: str) -> list[Call]:
    """Returns calls whose jobs are due to be polled, and keeps other workers from polling them
    for a lease."""
    jobs = Call.objects.using(using).filter(executor__in=executors, claim__isnull=False)
    jobs = jobs.exclude(job_id="")
    if not jobs.due(database_now(using)).exists():
        return []
    with write(using):
        now = database_now(using)
        claimed = list(locked(jobs.due(now).order_by("due_at"), waits=False)[:limit])
        # The token stays: it belongs to the attempt, not to the worker that polls.
        Call.objects.using(using).filter(pk__in=[call.pk for call in claimed]).update(
            due_at=now + lease()
        )
    return claimed


def accept_jobs(
    claims: Collection[ClaimedCall], job_ids: Collection[str], seconds: float, *, using: str
) -> None:
    """Records that a service has accepted these attempts, and answers them later.

    An attempt without start-to-close gets `seconds` for its answer; then it has failed, and is
    retried as its function's policy says.
    """
    ids = dict(zip(claims, job_ids, strict=True))
    with write(using):
        now = database_now(using)
        # Claims may have been lost meanwhile, and the service may have answered already.
        calls = Call.objects.using(using).filter(
            pk__in=[claimed.pk for claimed in ids],
            claim__in={claimed.token for claimed in ids},
        )
        for call in locked(calls.open().order_by("pk")):
            call.job_id = ids[ClaimedCall.of(call)] + ACCEPTED
            call.worker = None
            call.attempt_end_by = call.attempt_end_by or after(now, seconds)
            call.note_deadline()
            assert call.attempt_end_by is not None  # noqa: S101  (it has a time-out now)
            # Later than its time-out, which any worker notices.
            call.due_at = later(call.attempt_end_by, lease().total_seconds())
            call.save(
                using=using,
                update_fields=["job_id", "worker", "attempt_end_by", "deadline_at", "due_at"],
            )
