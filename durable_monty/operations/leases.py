"""The leases of executions that this process has claimed: they are renewed or given up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from durable_monty import conf
from durable_monty.models import Execution
from durable_monty.models.clock import database_now
from durable_monty.models.execution import ExecutionQuerySet
from durable_monty.operations.transactions import write
from durable_monty.wakeups import announce


def lease() -> timedelta:
    return timedelta(seconds=conf.current().LEASE)


def renew_executions(claimed: Sequence[Execution], *, using: str) -> None:
    """Extends leases, but not of executions that other workers have claimed meanwhile."""
    with write(using):
        _lock(claimed, using).update(due_at=database_now(using) + lease())


def give_back_executions(claimed: Sequence[Execution], *, using: str) -> None:
    """Gives up claims, so that the executions are due at once."""
    with write(using):
        ours = _lock(claimed, using)
        # This is no fault of theirs. But calls of the last turn may run that have no rows: after a
        # first fault the next run searches for them.
        ours.filter(turn__gt=0, faults=0).update(faults=1)
        ours.update(claim=None, due_at=database_now(using))
        announce(using)


def _lock(claimed: Sequence[Execution], using: str) -> ExecutionQuerySet:
    """Locks the executions whose claims still hold, in id order, as every write does."""
    executions = Execution.objects.using(using)
    claims = executions.filter(
        pk__in=[execution.pk for execution in claimed],
        claim__in={execution.claim for execution in claimed},
    )
    locked = claims.active().order_by("pk").select_for_update()
    return executions.filter(pk__in=list(locked.values_list("pk", flat=True)))
