"""Transactions that write, and the errors of a database that is only out of reach."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError, connections, transaction

_writer = threading.RLock()
# A forked child has a copy of the lock, but not the thread that would release it.
os.register_at_fork(after_in_child=lambda: globals().update(_writer=threading.RLock()))

_READ_ONLY = "25006"  # PostgreSQL's, for which psycopg has an InternalError


def may_pass(exc: BaseException) -> bool:
    """Returns whether the state of the database is to blame, not what was written: it is out of
    reach, locked, full or read-only."""
    is_read_only = getattr(exc.__cause__, "sqlstate", None) == _READ_ONLY
    return is_read_only or isinstance(exc, OperationalError | InterfaceError)


@contextmanager
def write(using: str) -> Iterator[None]:
    """Opens a transaction that writes."""
    connection = connections[using]
    # SQLite, which locks no rows, has a single writer, and its busy handler is no queue: a small
    # writer starved 20 s behind long ones. So the threads of a process take turns here. A caller
    # inside of a transaction may have the database's own lock, so waiting could be a deadlock.
    if not connection.features.has_select_for_update and not connection.in_atomic_block:
        with _writer, transaction.atomic(using):
            yield
    else:
        with transaction.atomic(using):
            yield
