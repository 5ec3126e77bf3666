"""Fails workflows that completed without awaiting one of their calls."""

from __future__ import annotations

from durable_monty.models import Call
from durable_monty.operations.journal import request_of
from durable_monty.operations.outcomes import Outcome, TurnResult
from durable_monty.sandbox import Completed, Workflow, never_awaited


def fail_if_unawaited(outcome: Outcome, using: str) -> Outcome:
    """Returns the outcome, or a failure if the workflow never awaited a call of the journal."""
    ending = outcome.ending if isinstance(outcome, TurnResult) else None
    if not isinstance(outcome, TurnResult) or not isinstance(ending, Completed) or not ending.left:
        return outcome
    execution = outcome.execution
    rows = Call.objects.using(using).filter(execution_id=execution.pk, delivered_turn=None)
    ids = set(ending.left)
    left = [request_of(row) for row in rows.order_by("call_id") if row.call_id in ids]
    program = execution.program
    workflow = Workflow(program.source, program.functions, execution.inputs, execution.seed)
    failed = never_awaited(left, workflow)
    if failed is None:
        return outcome
    *turns, last = outcome.turns
    return outcome._replace(turns=(*turns, last._replace(outcome=failed)))
