"""How much room the tables take, as far as the database tells without counting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connections

from durable_monty.vendors import by_vendor

_POSTGRESQL = """
SELECT relname, CAST(reltuples AS bigint), pg_total_relation_size(oid)
FROM pg_class
WHERE oid IN (SELECT to_regclass(name) FROM unnest(CAST(%s AS text[])) AS name)
"""
_MYSQL = """
SELECT table_name, table_rows, data_length + index_length FROM information_schema.tables
WHERE table_schema = database() AND table_name IN %s
"""
_SQLITE = """
SELECT NULL, NULL, (page_count - freelist_count) * page_size
FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()
"""


@dataclass(frozen=True, slots=True)
class TableSize:
    """Of a table with its indexes. `label` is empty: of the whole database; `rows`: an estimate,
    None: unknown."""

    label: str
    rows: int | None
    bytes: int


def read_sizes(using: str) -> tuple[TableSize, ...]:
    """The largest first."""
    labels = {
        model._meta.db_table: str(model._meta.verbose_name_plural)
        for model in apps.get_app_config("durable_monty").get_models()
    }
    found = (
        TableSize(labels.get(table, ""), None if rows is None or rows < 0 else rows, size)
        for table, rows, size in _ask(list(labels), using)
    )
    return tuple(sorted(found, key=lambda size: -size.bytes))


def _ask(tables: list[str], using: str) -> Iterable[Any]:
    connection = connections[using]
    with connection.cursor() as cursor:
        statement = by_vendor(connection, {"postgresql": _POSTGRESQL, "mysql": _MYSQL})
        if statement is not None:
            cursor.execute(statement, [tables])
        else:
            cursor.execute(_SQLITE)
        rows: Iterable[Any] = cursor.fetchall()
    return rows
