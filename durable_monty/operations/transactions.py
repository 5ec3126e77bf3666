from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError, connections, transaction

_sqlite_writer = threading.RLock()


def _forget_writer() -> None:
    # In a forked child: the thread that held it is not there to release it.
    global _sqlite_writer  # noqa: PLW0603
    _sqlite_writer = threading.RLock()


os.register_at_fork(after_in_child=_forget_writer)

_READ_ONLY = "25006"  # PostgreSQL's, for which psycopg has an InternalError


def may_pass(exc: BaseException) -> bool:
    """Whether the state of the database is to blame, not what was written: it is out of reach,
    locked, full or read-only."""
    is_read_only = getattr(exc.__cause__, "sqlstate", None) == _READ_ONLY
    return is_read_only or isinstance(exc, OperationalError | InterfaceError)


@contextmanager
def write(using: str) -> Iterator[None]:
    """One transaction that writes.

    SQLite has a single writer, and its busy handler is no queue: a small writer starved 20 s
    behind long ones. So the threads of a process take turns here, unless the caller already
    holds a transaction (and with it, maybe, the database's own lock).
    """
    connection = connections[using]
    if not connection.features.has_select_for_update and not connection.in_atomic_block:
        with _sqlite_writer, transaction.atomic(using):
            yield
    else:
        with transaction.atomic(using):
            yield
