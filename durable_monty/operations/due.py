"""One look at all that time brings: what an idle worker asks for, again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.db import connections

from durable_monty.models import Call, Execution
from durable_monty.models.call import ENGINE
from durable_monty.models.clock import database_now
from durable_monty.operations import bulk
from durable_monty.sandbox import SLEEP


class Due(NamedTuple):
    """`executions` and `deadlines`: those whose time is over, of executions and of calls."""

    timers: bool
    deadlines: bool
    executions: bool
    calls: bool


def what_is_due(functions: Sequence[str], executors: Sequence[str], *, using: str) -> Due:
    connection = connections[using]
    call, execution = (bulk.table_of(model, connection) for model in (Call, Execution))
    # Not EXISTS: without statistics PostgreSQL reads the table for it, as if half of it were due.
    asked = [
        f"SELECT MIN(due_at) FROM {call} "  # noqa: S608
        "WHERE executor = %s AND function = %s AND due_at <= %s",
        f"SELECT MIN(deadline_at) FROM {call} WHERE deadline_at <= %s",  # noqa: S608
        f"SELECT MIN(deadline) FROM {execution} WHERE deadline <= %s",  # noqa: S608
        f"SELECT MIN(grace_until) FROM {execution} WHERE grace_until <= %s",  # noqa: S608
    ]
    now = connection.ops.adapt_datetimefield_value(database_now(using))
    values = [ENGINE, SLEEP, *[now] * 4]
    if functions and executors:
        asked.append(
            f"SELECT MIN(due_at) FROM {call} WHERE executor IN ({bulk.marks_of(executors)}) "  # noqa: S608
            f"AND function IN ({bulk.marks_of(functions)}) AND due_at <= %s"
        )
        values += [*executors, *functions, now]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(f'({query})' for query in asked)}", values)
        earliest = [value is not None for value in cursor.fetchone()]
    timers, deadlines, passed, ended, *calls = earliest
    return Due(timers, deadlines, passed or ended, any(calls))
