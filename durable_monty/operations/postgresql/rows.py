"""Many rows in one step: COPY for new ones, one statement for changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connections, models

from durable_monty.operations import sql
from durable_monty.operations.database import Database, Row


def copy(
    database: Database,
    model: type[models.Model],
    columns: Sequence[str],
    rows: Sequence[Row],
    constants: Mapping[str, Any],
) -> bool | None:
    connection = connections[database.using]
    names = ", ".join(sql.names_of(model, (*columns, *constants), connection))
    values = tuple(constants.values())
    with connection.cursor() as cursor:
        if not hasattr(cursor.cursor, "copy"):
            return None  # psycopg2
        # The driver's own method: its errors are not Django's yet.
        with (
            connection.wrap_database_errors,
            cursor.cursor.copy(
                f"COPY {sql.table_of(model, connection)} ({names}) FROM STDIN"
            ) as copying,
        ):
            for row in rows:
                copying.write_row((*row, *values))
    return True


def update(
    database: Database, model: type[models.Model], columns: Sequence[str], rows: Sequence[Row]
) -> bool:
    connection = connections[database.using]
    table = sql.table_of(model, connection)
    key, *names = sql.names_of(model, ("pk", *columns), connection)
    changes = ", ".join(f"{name} = given.c{i}" for i, name in enumerate(names, 1))
    types = sql.types_of(model, ("pk", *columns), connection)
    record = ", ".join(f"c{i} {kind}" for i, kind in enumerate(types))
    # One parameter: the statement is the same however many rows there are.
    given = sql.as_json([{f"c{i}": value for i, value in enumerate(row)} for row in rows])
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET {changes} FROM json_to_recordset(%s) AS given({record}) "
            f"WHERE {table}.{key} = given.c0",
            [given],
        )
    return True
