"""Time is the database's, so that workers whose clocks differ agree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import connections

_NOW = {
    "postgresql": "SELECT statement_timestamp()",
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
    # Not CURRENT_TIMESTAMP: that is in the session's time zone.
    "mysql": "SELECT utc_timestamp(6)",
}

# The one seam through which tests move time; never set outside of them.
offset = timedelta()


def database_now(using: str) -> datetime:
    """The database's time of this statement, aware, in UTC."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(_NOW[connection.vendor])
        (value,) = cursor.fetchone()
    now: datetime = datetime.fromisoformat(value) if isinstance(value, str) else value
    return (now.replace(tzinfo=UTC) if now.tzinfo is None else now.astimezone(UTC)) + offset
