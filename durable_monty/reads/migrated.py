from __future__ import annotations

from django.apps import apps
from django.db import connections, router
from django.db.migrations.executor import MigrationExecutor

from durable_monty.exceptions import DatabaseNotMigrated


def check_migrated(using: str) -> None:
    """Raises `DatabaseNotMigrated`. Not a system check: that would stop `migrate` itself."""
    _check(using, "durable_monty")
    if apps.is_installed("django_q"):
        # It may be in another database.
        _check(router.db_for_write(apps.get_model("django_q", "Schedule")), "django_q")


def _check(using: str, app: str) -> None:
    executor = MigrationExecutor(connections[using])
    wanted = [node for node in executor.loader.graph.leaf_nodes() if node[0] == app]
    missing = [
        f"{migration.app_label}.{migration.name}"
        for migration, _backwards in executor.migration_plan(wanted)
    ]
    if missing:
        raise DatabaseNotMigrated(using, missing)
