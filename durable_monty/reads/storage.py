"""The sizes of the tables, as far as the database tells them without counting."""

from __future__ import annotations

from dataclasses import dataclass

from django.apps import apps
from django.db import connections

from durable_monty.vendors import by_vendor

# By vendor. Rows are estimates of the planner: counting them would read the whole tables.
_QUERIES = {
    "postgresql": """
        SELECT relname, CAST(reltuples AS bigint), pg_total_relation_size(oid)
        FROM pg_class
        WHERE oid IN (SELECT to_regclass(name) FROM unnest(CAST(%s AS text[])) AS name)
    """,
    "mysql": """
        SELECT table_name, table_rows, data_length + index_length FROM information_schema.tables
        WHERE table_schema = database() AND table_name IN %s
    """,
}
# It has one file, and not every build of it can tell the size of a table.
_SQLITE = """
    SELECT NULL, NULL, (page_count - freelist_count) * page_size
    FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()
"""


@dataclass(frozen=True, slots=True)
class TableSize:
    """The size of a table with its indexes; of the whole database if `label` is empty."""

    label: str
    rows: int | None
    bytes: int


def read_sizes(using: str) -> tuple[TableSize, ...]:
    """Returns the sizes, the largest first."""
    labels = {
        model._meta.db_table: str(model._meta.verbose_name_plural)
        for model in apps.get_app_config("durable_monty").get_models()
    }
    query = by_vendor(connections[using], _QUERIES)
    with connections[using].cursor() as cursor:
        cursor.execute(query or _SQLITE, [list(labels)] if query else None)
        found = cursor.fetchall()
    # PostgreSQL says -1 of a table that was never analysed.
    sizes = (
        TableSize(labels.get(table, ""), None if rows is None or rows < 0 else rows, size)
        for table, rows, size in found
    )
    return tuple(sorted(sizes, key=lambda size: -size.bytes))
