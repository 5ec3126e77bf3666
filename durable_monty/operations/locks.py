"""Row locks of executions and calls."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any, TypeVar

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from durable_monty.models import Execution

Rows = TypeVar("Rows", bound=models.QuerySet[Any])


def locked(rows: Rows, *, waits: bool = True) -> Rows:
    """Returns rows that are locked when they are read.

    Rows that another transaction has locked are waited for or, with `waits=False`, left out. On
    SQLite, which locks no rows, the transaction itself keeps other writers out.
    """
    # FOR UPDATE would also keep others from inserting rows that refer to these.
    no_key = connections[rows.db].features.has_select_for_no_key_update
    return rows.select_for_update(no_key=no_key, skip_locked=not waits)


def lock_free(execution_ids: Collection[uuid.UUID], using: str) -> set[uuid.UUID]:
    """Locks executions in id order, and returns them without those that others have locked.

    A worker does not wait for these: somebody may have answered a call of one of them in a
    transaction that takes long, and other executions have nothing to do with that.
    """
    if not connections[using].features.has_select_for_update:
        return set(execution_ids)
    executions = Execution.objects.using(using).filter(pk__in=execution_ids)
    return set(locked(executions.order_by("pk"), waits=False).values_list("pk", flat=True))


def lock_clause(connection: BaseDatabaseWrapper, *, waits: bool) -> str:
    """Returns the end of a SELECT that locks rows as `locked` does."""
    has_no_key = connection.features.has_select_for_no_key_update
    return f"FOR {'NO KEY ' * has_no_key}UPDATE{'' if waits else ' SKIP LOCKED'}"
