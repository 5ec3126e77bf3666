"""Time is the database's, so that workers whose clocks differ agree."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections
from django.db.models import Model, QuerySet
from django.db.models.expressions import RawSQL

from durable_monty.models.moment import MomentField
from durable_monty.vendors import by_vendor

_NOW = {
    # Without a time zone: one that somebody has set for the session does not matter then.
    "postgresql": "statement_timestamp() AT TIME ZONE 'UTC'",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now')",
    # Not CURRENT_TIMESTAMP: that is in the session's time zone.
    "mysql": "utc_timestamp(6)",
}

# The time as PostgreSQL compares it with columns, for statements that add the offset.
SQL_NOW = f"(({_NOW['postgresql']})::timestamp AT TIME ZONE 'UTC')"

# The two seams through which tests move time and stop it; never set outside of them. A time that
# is stopped is in UTC, in whole milliseconds as SQLite has them, and moves by the offset.
offset = timedelta()
stopped: datetime | None = None


def sql_now(using: str) -> str:
    """Returns the SQL of the time of a statement. `read` understands its values."""
    if stopped is not None:
        return by_vendor(connections[using], _stopped_now(stopped)) or _stopped_text(stopped)
    return by_vendor(connections[using], _NOW) or "CURRENT_TIMESTAMP"


def with_stopped(statement: str) -> str:
    """Returns a statement for PostgreSQL that has `SQL_NOW` in it, for a time that is stopped."""
    if stopped is None:
        return statement
    return statement.replace(_NOW["postgresql"], _stopped_now(stopped)["postgresql"])


def elapsed(since: float) -> timedelta:
    """Returns the time that has passed since `since`, by the monotonic clock of this process."""
    return timedelta() if stopped is not None else timedelta(seconds=time.monotonic() - since)


def database_now(using: str) -> datetime:
    """Returns the database's time of this statement, aware, in UTC."""
    with connections[using].cursor() as cursor:
        # Without parameters, the % of SQLite's format need not be doubled.
        cursor.execute(f"SELECT {sql_now(using)}", None)
        (value,) = cursor.fetchone()
    return read(value)


def read(value: datetime | str) -> datetime:
    return as_utc(value) + offset


def as_utc(value: datetime | str) -> datetime:
    """Returns a stored time that a cursor gave."""
    time = datetime.fromisoformat(value) if isinstance(value, str) else value
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def with_now(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Returns rows that carry the time of their own statement, for `now_of`."""
    now = RawSQL(sql_now(rows.db).replace("%", "%%"), (), MomentField())  # noqa: S611  (constant)
    timed: QuerySet[Any] = rows.annotate(database_now=now)
    return timed


def now_of(row: Model) -> datetime:
    return read(vars(row)["database_now"])


def _stopped_text(moment: datetime) -> str:
    return f"'{moment:%Y-%m-%d %H:%M:%S.%f}'"


def _stopped_now(moment: datetime) -> dict[str, str]:
    text = _stopped_text(moment)
    return {"postgresql": f"timestamp {text}", "mysql": f"timestamp({text})"}
