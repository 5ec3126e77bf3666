from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

Converter = Callable[[Any, Any, BaseDatabaseWrapper], Any]


def as_stored(value: datetime, connection: BaseDatabaseWrapper) -> Any:
    """Returns a time as a parameter of SQL that compares it with a `MomentField`."""
    if connection.features.supports_timezones:
        return value
    # Text is also what Django gives to SQLite and MySQL.
    return str(value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None))


def _to_utc(value: datetime | None, _expression: Any, connection: Any) -> datetime | None:
    if value is None:
        return None
    is_aware = connection.features.supports_timezones and value.tzinfo is not None
    return value.astimezone(UTC) if is_aware else value.replace(tzinfo=UTC)


if TYPE_CHECKING:
    MomentField = models.DateTimeField
else:

    class MomentField(models.DateTimeField):
        """A time that is stored and read in UTC, whatever the database's TIME_ZONE setting is.

        In databases without time zones (SQLite, MySQL) Django stores the local times of that zone:
        hours away from what our SQL compares them with, and one hour comes twice in autumn. And
        adding seconds to a local time gives the wrong moment when the clocks change in between.
        """

        def get_db_prep_value(
            self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
        ) -> Any:
            if not prepared:
                value = self.get_prep_value(value)
            return as_stored(value, connection) if isinstance(value, datetime) else value

        def get_db_converters(self, connection: BaseDatabaseWrapper) -> list[Converter]:
            return [] if connection.timezone is UTC else [_to_utc]
