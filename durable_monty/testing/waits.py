"""What executions wait for: the next moment, and the calls that are open."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Min, QuerySet

from durable_monty import codec
from durable_monty.kinds import PERSON
from durable_monty.models import Call, Execution, ExecutionStatus
from durable_monty.models.call import CallQuerySet
from durable_monty.testing.played import shown


def next_moment(now: datetime, using: str, *, with_deadlines: bool) -> datetime | None:
    """Returns when the next sleep, retry or lost claim is due after `now`.

    `with_deadlines` includes the time limits of executions and calls.
    """
    calls = Call.objects.using(using).open()
    executions = Execution.objects.using(using).active()
    columns: list[tuple[QuerySet[Call] | QuerySet[Execution], str]] = [
        (calls.exclude(PERSON.rows), "due_at"),
        (executions, "due_at"),
        (executions, "grace_until"),
    ]
    if with_deadlines:
        columns += [(calls, "deadline_at"), (executions, "deadline")]
    moments = (
        rows.filter(**{f"{column}__gt": now}).aggregate(at=Min(column))["at"]
        for rows, column in columns
    )
    return min((moment for moment in moments if moment is not None), default=None)


def open_calls(using: str) -> CallQuerySet:
    """Returns the open calls of functions, in the order in which they were made."""
    return Call.objects.using(using).open().functions().order_by("execution_id", "call_id")


def describe_call(call: Call) -> str:
    return shown(call.function, codec.decode(call.args), codec.decode(call.kwargs))


def describe_calls(calls: Iterable[Call]) -> list[str]:
    """Returns a line for each call that tells it from the others."""
    return [
        f"{describe_call(call)}: execution_id={str(call.execution_id)!r}, call_id={call.call_id}"
        for call in calls
    ]


def describe_executions(executions: Iterable[Execution], using: str) -> list[str]:
    """Returns a line for each execution that says what it waits for."""
    lines = []
    for execution in executions:
        calls = open_calls(using).filter(execution=execution)
        state = f"is {execution.status}"
        if execution.status == ExecutionStatus.PAUSED:
            state = f"is paused: {execution.reason}"
        elif calls:
            state = f"waits for {', '.join(map(describe_call, calls))}"
        name = f"{execution.name} {execution.pk}" if execution.name else str(execution.pk)
        lines.append(f"{name} {state}")
    return lines
