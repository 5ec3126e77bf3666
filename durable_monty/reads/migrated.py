from __future__ import annotations

from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from durable_monty.exceptions import DatabaseNotMigrated


def check_migrated(using: str) -> None:
    """Raises `DatabaseNotMigrated`. Not a system check: that would stop `migrate` itself."""
    executor = MigrationExecutor(connections[using])
    wanted = [
        node
        for node in executor.loader.graph.leaf_nodes()
        if node[0] in ("durable_monty", "django_q")
    ]
    missing = [
        f"{migration.app_label}.{migration.name}"
        for migration, _backwards in executor.migration_plan(wanted)
    ]
    if missing:
        raise DatabaseNotMigrated(using, missing)
