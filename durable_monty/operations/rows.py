"""Many rows in one step: they are inserted, updated and locked.

A row is a tuple in the order of `columns`, which are field attnames. `constants` are columns that
have the same value in every row.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connections, models

from durable_monty.models import clock
from durable_monty.operations.database import Row
from durable_monty.operations.locks import lock_clause
from durable_monty.operations.shortcuts import shortcuts_of
from durable_monty.operations.sql import adapted, names_of, placeholders, table_of

# Not by `bulk_create` and `bulk_update`: Django's work for each row and field measured a fifth of
# the one and a tenth of the other. Here it is done once for each statement.


def insert(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    constants: Mapping[str, Any] | None = None,
    using: str,
) -> None:
    fixed = constants or {}
    if not rows or shortcuts_of(using).insert(model, columns, rows, fixed):
        return
    connection = connections[using]
    names = names_of(model, (*columns, *fixed), connection)
    values = tuple(fixed.values())
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {table_of(model, connection)} ({', '.join(names)}) "
            f"VALUES ({placeholders(names)})",
            [adapted((*row, *values), connection) for row in rows],
        )


def update(
    model: type[models.Model], columns: Sequence[str], rows: Sequence[Row], *, using: str
) -> None:
    """Each row begins with the primary key of the one to change, which the caller has locked."""
    if not rows or shortcuts_of(using).update(model, columns, rows):
        return
    connection = connections[using]
    key, *names = names_of(model, ("pk", *columns), connection)
    changes = ", ".join(f"{name} = %s" for name in names)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {table_of(model, connection)} SET {changes} WHERE {key} = %s",
            [adapted((*row[1:], row[0]), connection) for row in rows],
        )


def lock(
    model: type[models.Model],
    columns: Sequence[str],
    keys: Sequence[uuid.UUID] | Sequence[int],
    where: str,
    *,
    using: str,
    waits: bool = True,
) -> tuple[datetime | None, list[tuple[Any, ...]]]:
    """Locks the rows of these primary keys, in their order, as `locked` does.

    Returns the database's time, None if there are no such rows, and a row of the key and
    `columns`, which are SQL, for each. A UUID is a str where the database has none.
    """
    if (found := shortcuts_of(using).lock(model, columns, keys, where)) is not None:
        return found
    connection = connections[using]
    (key,) = names_of(model, ("pk",), connection)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join((clock.sql_now(using), key, *columns))} "
            f"FROM {table_of(model, connection)} WHERE {key} IN ({placeholders(keys)}) "
            f"AND {where} ORDER BY {key} {lock_clause(connection, waits=waits)}",
            adapted(keys, connection),
        )
        rows = cursor.fetchall()
    return (clock.read(rows[0][0]) if rows else None), [tuple(row[1:]) for row in rows]
