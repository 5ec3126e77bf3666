"""Calls that an executor runs elsewhere: a worker asks for their answers."""

from __future__ import annotations

from collections.abc import Collection

from durable_monty.durations import later
from durable_monty.models import Call
from durable_monty.models.clock import database_now
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.hold import lease, ours
from durable_monty.operations.transactions import write


def watch_job(claimed: ClaimedCall, job_id: str, interval: float, *, using: str) -> None:
    """Notes where a call runs, and that somebody must ask for it in `interval` seconds."""
    with write(using):
        due_at = later(database_now(using), interval)
        ours([claimed], using).update(job_id=job_id, due_at=due_at)


def claim_jobs(executors: Collection[str], limit: int, *, using: str) -> list[Call]:
    """Takes the calls whose jobs are to be asked for; nobody else does so for a lease.

    Each keeps its token: that is the attempt's, whoever asks for its job.
    """
    jobs = Call.objects.using(using).filter(executor__in=executors, claim__isnull=False)
    jobs = jobs.exclude(job_id="")
    if not jobs.due(database_now(using)).exists():
        return []
    with write(using):
        now = database_now(using)
        claimed = list(
            jobs.due(now).order_by("due_at").select_for_update(skip_locked=True)[:limit]
        )
        Call.objects.using(using).filter(pk__in=[call.pk for call in claimed]).update(
            due_at=now + lease()
        )
    return claimed
