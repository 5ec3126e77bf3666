"""Many rows in one statement: the hot SQL, for each database.

A row is a tuple in the order of `columns`, which are field attnames. `constants` are columns that
have the same value in every row. What Django does for each row and field, this does for each
statement: it measured a fifth of `bulk_create` and a tenth of `bulk_update`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from durable_monty.models import CallStatus, ExecutionStatus, clock
from durable_monty.models.moment import as_stored

Row = Sequence[Any]
M = TypeVar("M", bound=models.Model)
Converter = Callable[[Any, Any, BaseDatabaseWrapper], Any]

_RECORD = tuple(f"c{i}" for i in range(64))  # names of columns that are given as JSON

# Of executions. IS TRUE keeps the index of statuses out of it: a million may be waiting.
ACTIVE = f"(status IN ('{ExecutionStatus.SCHEDULED}', '{ExecutionStatus.WAITING}')) IS TRUE"


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
    table = table_of(model, connection)
    names = ", ".join(names_of(model, (*columns, *fixed), connection))
    values = tuple(fixed.values())
    with connection.cursor() as cursor:
        if hasattr(cursor.cursor, "copy"):  # psycopg 3
            # The driver's own method: its errors are not Django's yet.
            with (
                connection.wrap_database_errors,
                cursor.cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy,
            ):
                for row in rows:
                    copy.write_row((*row, *values))
        elif connection.vendor == "sqlite":
            # Not executemany: it gives way to other threads at each row.
            wanted = ", ".join([*(_item(i) for i in range(len(columns))), *["%s"] * len(fixed)])
            cursor.execute(
                f"INSERT INTO {table} ({names}) SELECT {wanted} FROM json_each(%s)",  # noqa: S608
                [*_adapted(values, connection), _json_of(rows, connection)],
            )
        else:
            marks = placeholders((*columns, *fixed))
            cursor.executemany(
                f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608
                [_adapted((*row, *values), connection) for row in rows],
            )


def update(
    model: type[models.Model], columns: Sequence[str], rows: Sequence[Row], *, using: str
) -> None:
    """Each row begins with the primary key of the one to change, which the caller has locked."""
    if not rows:
        return
    connection = connections[using]
    table = table_of(model, connection)
    key, *names = names_of(model, ("pk", *columns), connection)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            changes = ", ".join(f"{name} = given.c{i}" for i, name in enumerate(names, 1))
            given, text = _recordset(model, ("pk", *columns), rows, connection)
            cursor.execute(
                f"UPDATE {table} SET {changes} FROM {given} WHERE {table}.{key} = given.c0",  # noqa: S608
                [text],
            )
        elif connection.vendor == "sqlite":
            changes = ", ".join(f"{name} = {_item(i)}" for i, name in enumerate(names, 1))
            cursor.execute(
                f"UPDATE {table} SET {changes} FROM json_each(%s) "  # noqa: S608
                f"WHERE {table}.{key} = {_item(0)}",
                [_json_of(rows, connection)],
            )
        else:
            changes = ", ".join(f"{name} = %s" for name in names)
            cursor.executemany(
                f"UPDATE {table} SET {changes} WHERE {key} = %s",  # noqa: S608
                [_adapted((*row[1:], row[0]), connection) for row in rows],
            )


def lock(
    model: type[models.Model],
    columns: Sequence[str],
    keys: Sequence[uuid.UUID] | Sequence[int],
    where: str,
    *,
    using: str,
) -> tuple[datetime | None, list[tuple[Any, ...]]]:
    """Rows of these primary keys, locked in their order, and the database's time, if there are
    any. `columns` are SQL; a UUID comes as a str where the database has none."""
    connection = connections[using]
    table = table_of(model, connection)
    (key,) = names_of(model, ("pk",), connection)
    if connection.vendor == "postgresql":
        marks, given = "= ANY(%s)", [list(keys)]
    else:
        marks, given = f"IN ({placeholders(keys)})", _adapted(keys, connection)
    locking = " FOR UPDATE" if connection.features.has_select_for_update else ""
    now = clock.NOW[connection.vendor].replace("%", "%%")
    wanted = [now, key, *columns]
    source = f"FROM {table} WHERE {key} {marks} AND {where} ORDER BY {key}{locking}"
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            # One row: it gives way to other threads at each.
            each = ", ".join(f"c{i}" for i in range(len(wanted)))
            named = ", ".join(f"{column} AS c{i}" for i, column in enumerate(wanted))
            cursor.execute(
                f"SELECT json_group_array(json_array({each})) FROM (SELECT {named} {source})",  # noqa: S608
                given,
            )
            rows = json.loads(cursor.fetchone()[0])
        else:
            cursor.execute(f"SELECT {', '.join(wanted)} {source}", given)
            rows = cursor.fetchall()
    return (clock.read(rows[0][0]) if rows else None), [tuple(row[1:]) for row in rows]


def as_uuid(value: uuid.UUID | str) -> uuid.UUID:
    return uuid.UUID(value) if isinstance(value, str) else value


def table_of(model: type[models.Model], connection: BaseDatabaseWrapper) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def placeholders(values: Sequence[Any]) -> str:
    """A place for each of them in a statement."""
    return ", ".join(["%s"] * len(values))


def array_of(kind: str) -> str:
    """A place for a list, of whose length the planner knows nothing: where one plan would do for
    any length, it makes another for each use."""
    return f"ARRAY(SELECT unnest(%s::{kind}[]))"


def now_without_fsync(now: str) -> str:
    """The time, as `t`, in a PostgreSQL statement that does not wait for the disk: a claim or a
    start that is lost with the server's power is made again."""
    return f"""t AS MATERIALIZED (
    SELECT {now} + make_interval(secs => %s) AS now,
    set_config('synchronous_commit', 'off', true)
)"""


def texts_of(constants: Sequence[str]) -> str:
    """Constants of ours, such as statuses, as SQL has them."""
    return ", ".join(f"'{constant}'" for constant in constants)


def all_names_of(model: type[models.Model], alias: str, connection: BaseDatabaseWrapper) -> str:
    """What a statement gives for `instances`."""
    names = names_of(model, _attnames(model), connection)
    return ", ".join(f"{alias}.{name}" for name in names)


def instances(model: type[M], rows: Sequence[Row], using: str) -> list[M]:
    """Instances of rows with `all_names_of` the model, in the order of their keys."""
    names = _attnames(model)
    if converters := _converters(model, using):
        rows = [_converted(row, converters, connections[using]) for row in rows]
    return sorted(
        (model.from_db(using, names, row) for row in rows), key=lambda instance: instance.pk
    )


@lru_cache(maxsize=8)
def _converters(model: type[models.Model], using: str) -> dict[int, list[Converter]]:
    """What makes Python's values of the database's, by the number of the column."""
    connection = connections[using]
    found = {}
    for number, field in enumerate(model._meta.concrete_fields):
        column = field.get_col(model._meta.db_table)
        converters = connection.ops.get_db_converters(column)
        if converters := [*converters, *column.get_db_converters(connection)]:
            found[number] = converters
    return found


def _converted(
    row: Row, converters: Mapping[int, Sequence[Converter]], connection: BaseDatabaseWrapper
) -> Row:
    values = list(row)
    for number, each in converters.items():
        for convert in each:
            values[number] = convert(values[number], None, connection)
    return values


def _attnames(model: type[models.Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


def names_of(
    model: type[models.Model], columns: Sequence[str], connection: BaseDatabaseWrapper
) -> list[str]:
    return [connection.ops.quote_name(_field(model, name).column) for name in columns]


def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name)


def _recordset(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Sequence[Row],
    connection: BaseDatabaseWrapper,
) -> tuple[str, str]:
    """PostgreSQL's rows out of one parameter: the statement is the same however many they are."""
    text = as_json([dict(zip(_RECORD, row, strict=False)) for row in rows])
    return f"json_to_recordset(%s) AS given({_record(model, columns, connection)})", text


def as_json(rows: Sequence[Mapping[str, Any]] | Sequence[Row]) -> str:
    return json.dumps(rows, default=str, separators=(",", ":"))


def _record(
    model: type[models.Model], columns: Sequence[str], connection: BaseDatabaseWrapper
) -> str:
    """Columns c0, c1 ... of the types of these."""
    types = types_of(model, columns, connection)
    return ", ".join(f"c{i} {kind}" for i, kind in enumerate(types))


def types_of(
    model: type[models.Model], columns: Sequence[str], connection: BaseDatabaseWrapper
) -> list[str]:
    return [_field(model, name).cast_db_type(connection) for name in columns]


def _item(index: int) -> str:
    return f"json_extract(value, '$[{index}]')"


def _json_of(rows: Sequence[Row], connection: BaseDatabaseWrapper) -> str:
    return json.dumps([_adapted(row, connection) for row in rows], separators=(",", ":"))


def _adapted(row: Row, connection: BaseDatabaseWrapper) -> list[Any]:
    """As SQLite and MySQL take values; psycopg knows them."""
    return [
        value if (adapt := _ADAPTERS.get(type(value))) is None else adapt(value, connection)
        for value in row
    ]


_ADAPTERS: Mapping[type, Callable[[Any, BaseDatabaseWrapper], Any]] = {
    datetime: lambda value, connection: (
        str(value.replace(tzinfo=None))  # what the next line comes to, in a fifth of the time
        if value.tzinfo is UTC
        else as_stored(value, connection)
    ),
    uuid.UUID: lambda value, connection: (
        str(value) if connection.features.has_native_uuid_field else value.hex
    ),
    CallStatus: lambda value, connection: value.value,
    ExecutionStatus: lambda value, connection: value.value,
}
