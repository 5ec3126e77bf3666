"""One query for all that time brings, which an idle worker makes again and again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from django.db import connections

from durable_monty.kinds import ANSWERED_WHEN_DUE, ENGINE
from durable_monty.models import Call, Execution, clock
from durable_monty.models.clock import database_now
from durable_monty.models.moment import as_stored
from durable_monty.operations.sql import placeholders, table_of

# The functions whose calls the engine answers when they are due.
_OURS = [name for kind in ANSWERED_WHEN_DUE for name in kind.functions]


class Due(NamedTuple):
    """Says what is due now. `executions` and `deadlines` are time limits that have passed, of
    executions and of calls; `wait` is the seconds until the next of all these, if it is near."""

    timers: bool
    deadlines: bool
    executions: bool
    calls: bool
    wait: float | None


def find_due(
    functions: Sequence[str], executors: Sequence[str], *, ahead: float, using: str
) -> Due:
    """Asks for everything at once. What is due within `ahead` seconds is near."""
    connection = connections[using]
    call, execution = (table_of(model, connection) for model in (Call, Execution))
    # Not EXISTS: without statistics PostgreSQL reads the table for it, as if half of it were due.
    queries = [
        f"SELECT MIN(due_at) FROM {call} WHERE executor = %s "
        f"AND function IN ({placeholders(_OURS)}) AND due_at <= %s",
        f"SELECT MIN(deadline_at) FROM {call} WHERE deadline_at <= %s",
        f"SELECT MIN(deadline) FROM {execution} WHERE deadline <= %s",
        f"SELECT MIN(grace_until) FROM {execution} WHERE grace_until <= %s",
    ]
    now = database_now(using)
    until = as_stored(now + timedelta(seconds=ahead), connection)
    values = [ENGINE, *_OURS, *[until] * 4]
    if functions and executors:
        queries.append(
            f"SELECT MIN(due_at) FROM {call} WHERE executor IN ({placeholders(executors)}) "
            f"AND function IN ({placeholders(functions)}) AND due_at <= %s"
        )
        values += [*executors, *functions, until]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(f'({query})' for query in queries)}", values)
        waits = [
            None if value is None else (clock.as_utc(value) - now).total_seconds()
            for value in cursor.fetchone()
        ]
    timers, deadlines, passed, ended, *calls = [wait is not None and wait <= 0 for wait in waits]
    wait = min((wait for wait in waits if wait is not None and wait > 0), default=None)
    return Due(timers, deadlines, passed or ended, any(calls), wait)
