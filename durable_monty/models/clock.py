"""Time is the database's, so that workers whose clocks differ agree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections
from django.db.models import Model, QuerySet
from django.db.models.expressions import RawSQL

from durable_monty.models.moment import MomentField

# The time of a statement, as a column of it; `read` understands it.
NOW = {
    # Without a time zone: one that somebody has set for the session does not matter then.
    "postgresql": "statement_timestamp() AT TIME ZONE 'UTC'",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now')",
    # Not CURRENT_TIMESTAMP: that is in the session's time zone.
    "mysql": "utc_timestamp(6)",
}

# The one seam through which tests move time; never set outside of them.
offset = timedelta()


def database_now(using: str) -> datetime:
    """The database's time of this statement, aware, in UTC."""
    connection = connections[using]
    with connection.cursor() as cursor:
        # No parameters: SQLite's % are not to be doubled.
        cursor.execute(f"SELECT {NOW[connection.vendor]}", None)
        (value,) = cursor.fetchone()
    return read(value)


def sql_now() -> str:
    """The time as PostgreSQL compares it with columns, for statements that add the offset."""
    return f"(({NOW['postgresql']})::timestamp AT TIME ZONE 'UTC')"


def read(value: datetime | str) -> datetime:
    return as_utc(value) + offset


def as_utc(value: datetime | str) -> datetime:
    """A time that is stored, as a cursor gives it."""
    time = datetime.fromisoformat(value) if isinstance(value, str) else value
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def with_now(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Rows that bring the time of their own statement, for `now_of`."""
    sql = NOW[connections[rows.db].vendor].replace("%", "%%")
    now = RawSQL(sql, (), MomentField())  # noqa: S611  (constants)
    timed: QuerySet[Any] = rows.annotate(database_now=now)
    return timed


def now_of(row: Model) -> datetime:
    return read(vars(row)["database_now"])
