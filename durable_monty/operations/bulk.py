"""Many rows in one statement: the hot SQL, for each database.

A row is a tuple in the order of `columns`, which are field attnames. `constants` are columns that
have the same value in every row. What Django does for each row and field, this does for each
statement: it measured a fifth of `bulk_create` and a tenth of `bulk_update`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

Row = Sequence[Any]


def insert(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    constants: Mapping[str, Any] | None = None,
    using: str,
) -> None:
    if not rows:
        return
    connection = connections[using]
    fixed = constants or {}
    table = connection.ops.quote_name(model._meta.db_table)
    names = ", ".join(_names(model, (*columns, *fixed), connection))
    values = [_adapted(value, connection) for value in fixed.values()]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            wanted = ", ".join([*_names(model, columns, connection), *["%s"] * len(fixed)])
            given, text = _recordset(model, tuple(columns), rows, connection)
            cursor.execute(
                f"INSERT INTO {table} ({names}) SELECT {wanted} FROM {given}",  # noqa: S608
                [*values, text],
            )
        else:
            marks = ", ".join(["%s"] * (len(columns) + len(fixed)))
            cursor.executemany(
                f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608
                [[*row, *values] for row in _adapted_rows(rows, connection)],
            )


def update(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    constants: Mapping[str, Any] | None = None,
    using: str,
) -> None:
    """Each row begins with the primary key of the one to change, which the caller has locked."""
    if not rows:
        return
    connection = connections[using]
    fixed = constants or {}
    table = connection.ops.quote_name(model._meta.db_table)
    (key, *names) = _names(model, ("pk", *columns), connection)
    values = [_adapted(value, connection) for value in fixed.values()]
    same = [f"{name} = %s" for name in _names(model, tuple(fixed), connection)]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            changes = ", ".join([*(f"{name} = given.{name}" for name in names), *same])
            given, text = _recordset(model, ("pk", *columns), rows, connection)
            cursor.execute(
                f"UPDATE {table} SET {changes} FROM {given} "  # noqa: S608
                f"WHERE {table}.{key} = given.{key}",
                [*values, text],
            )
        else:
            changes = ", ".join([*(f"{name} = %s" for name in names), *same])
            cursor.executemany(
                f"UPDATE {table} SET {changes} WHERE {key} = %s",  # noqa: S608
                [[*row[1:], *values, row[0]] for row in _adapted_rows(rows, connection)],
            )


def _names(
    model: type[models.Model], columns: Sequence[str], connection: BaseDatabaseWrapper
) -> list[str]:
    return [connection.ops.quote_name(_field(model, name).column) for name in columns]


def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name)


def _recordset(
    model: type[models.Model],
    columns: tuple[str, ...],
    rows: Sequence[Row],
    connection: BaseDatabaseWrapper,
) -> tuple[str, str]:
    """PostgreSQL's rows out of one parameter: the statement is the same however many they are."""
    names = _names(model, columns, connection)
    types = [_field(model, name).cast_db_type(connection) for name in columns]
    pairs = ", ".join(f"{name} {kind}" for name, kind in zip(names, types, strict=True))
    keys = [_field(model, name).column for name in columns]
    records = [dict(zip(keys, row, strict=True)) for row in rows]
    text = json.dumps(records, default=_json, separators=(",", ":"))
    return f"json_to_recordset(%s) AS given({pairs})", text


def _json(value: Any) -> str:
    if isinstance(value, bytes | memoryview):
        return "\\x" + bytes(value).hex()
    return str(value)  # uuid, datetime, choices


def _adapted_rows(rows: Sequence[Row], connection: BaseDatabaseWrapper) -> list[list[Any]]:
    return [[_adapted(value, connection) for value in row] for row in rows]


def _adapted(value: Any, connection: BaseDatabaseWrapper) -> Any:
    if isinstance(value, Enum):
        return value.value
    adapt = _adapters(connection.vendor).get(type(value))
    return value if adapt is None else adapt(value, connection)


@lru_cache(maxsize=4)
def _adapters(vendor: str) -> dict[type, Callable[[Any, BaseDatabaseWrapper], Any]]:
    if vendor == "postgresql":
        return {}
    return {
        datetime: lambda value, connection: connection.ops.adapt_datetimefield_value(value),
        uuid.UUID: lambda value, connection: (
            str(value) if connection.features.has_native_uuid_field else value.hex
        ),
    }
