"""The fence of a commit: which executions are still the worker's, and which are to end."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from django.db.models import F

from durable_monty.models import Call, Execution
from durable_monty.operations import rows
from durable_monty.operations.answer import DEADLINE_PASSED, END_REQUESTS
from durable_monty.operations.outcomes import Outcome, TurnResult
from durable_monty.operations.sql import ACTIVE, as_uuid
from durable_monty.operations.transitions import Locked
from durable_monty.sandbox import CANCELLED

Claimed = tuple[Outcome, Locked]


def lock_executions(
    outcomes: Sequence[Outcome],
    using: str,
    *,
    is_doubtful: bool,
    blocked: list[Outcome] | None = None,
) -> tuple[datetime | None, list[Claimed]]:
    """Locks the executions of these outcomes, and returns those whose claim and turn still hold.

    Also returns the database's time; None if no execution was locked, because all are finished,
    paused or gone. A commit `is_doubtful` if an earlier attempt may have happened without being
    acknowledged. `blocked` takes the outcomes of executions that others have locked; without it,
    this waits for them.
    """
    executions = Execution.objects.using(using)
    now, found = rows.lock(
        Execution,
        ("claim", "turn", "wakeups", "status", "pause_requested", "grace_until IS NOT NULL"),
        [outcome.execution.id for outcome in outcomes],
        ACTIVE,
        using=using,
        waits=blocked is None,
    )
    locked: dict[uuid.UUID, Locked] = {}
    ending = []
    for key, token, turn, wakeups, status, pause_requested, is_ending in found:
        pk, claim = as_uuid(key), token and as_uuid(token)
        locked[pk] = Locked(pk, claim, turn, wakeups, status, bool(pause_requested))
        if is_ending:
            ending.append(pk)
    if blocked is not None and len(locked) < len(outcomes):
        missing = [outcome for outcome in outcomes if outcome.execution.pk not in locked]
        rest = executions.active().filter(pk__in=[outcome.execution.pk for outcome in missing])
        claims = dict(rest.values_list("pk", "claim"))
        blocked += [
            each for each in missing if claims.get(each.execution.pk) == each.execution.claim
        ]
    if now is None:
        return None, []
    if ending:
        wanted = ("grace_until", "cancel_requested_at", "deadline", "reason")
        for request in executions.filter(pk__in=ending).values("pk", *wanted):
            pk = request.pop("pk")
            locked[pk] = locked[pk]._replace(**request)
    pairs = [
        (outcome, row)
        for outcome in outcomes
        if (row := locked.get(outcome.execution.pk)) and row.claim == outcome.execution.claim
    ]
    if is_doubtful:
        # The earlier attempt did happen for those that are ahead: no worker has them now. A fault
        # tells whoever claims them that calls of the last turn may be missing.
        ahead = [row.pk for outcome, row in pairs if row.turn > outcome.execution.turn]
        executions.filter(pk__in=ahead).update(claim=None, due_at=now, faults=F("faults") + 1)
    return now, [pair for pair in pairs if pair[1].turn == pair[0].execution.turn]


def refusals_of(claimed: Sequence[Claimed], using: str) -> dict[uuid.UUID, tuple[str, str]]:
    """Returns the errors for the calls of turns that did not know yet that their execution must
    end: type and message for each such execution."""
    ending = {
        row.pk: (outcome.execution, row)
        for outcome, row in claimed
        if isinstance(outcome, TurnResult) and row.grace_until is not None
    }
    if not ending:
        return {}
    calls = Call.objects.using(using).filter(END_REQUESTS, execution_id__in=ending)
    answered = set(calls.values_list("execution_id", "error_type"))
    refusals = {}
    for pk, (execution, row) in ending.items():
        cancelled, late = (CANCELLED, row.reason), ("TimeoutError", DEADLINE_PASSED)
        if row.cancel_requested_at != execution.cancel_requested_at:
            refusals[pk] = cancelled
        elif row.deadline != execution.deadline:
            refusals[pk] = late
        else:
            refusal = cancelled if row.cancel_requested_at else late
            if (pk, refusal[0]) not in answered:
                # No call was open at the request: none has carried it to the workflow yet.
                refusals[pk] = refusal
    return refusals
