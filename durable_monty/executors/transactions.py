"""Checks and restores the database connections of a thread after a function ran in it.

A function may turn autocommit off, leave a transaction open, or close a connection under Django.
The next statement in that thread may record the function's answer, and must not suffer from it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from durable_monty.vendors import by_vendor

_OPEN = "left a transaction open"
_BROKEN = "left a broken transaction"
_ENDED = "ended the transaction in which it ran"

# The states of a session at the server.
_IDLE, _IN_TRANSACTION, _IN_ERROR, _UNUSABLE = range(4)
# libpq's PQTRANS_IDLE, _INTRANS and _INERROR. In its other states a connection cannot be used.
_POSTGRESQL = {0: _IDLE, 2: _IN_TRANSACTION, 3: _IN_ERROR}

_here = threading.local()


class Before(NamedTuple):
    """A transaction in which a function runs: its atomic blocks and savepoints, and whether the
    server has started it."""

    blocks: int
    savepoints: int
    has_begun: bool


def open_transactions() -> dict[str, Before]:
    """Returns the transactions that are open in this thread, by the alias of their database."""
    return {
        alias: Before(
            len(connection.atomic_blocks),
            len(connection.savepoint_ids),
            _server_state(connection) == _IN_TRANSACTION,
        )
        for alias, connection in _connections_here().items()
        if connection.in_atomic_block
    }


def put_right(before: dict[str, Before]) -> list[str]:
    """Ends the transactions that a function left open since `before`. Returns descriptions of
    those whose writes are lost."""
    lost = []
    for alias, connection in _connections_here().items():
        if alias in before:
            what = _leave_inner_blocks(connection, before[alias])
        else:
            what = _reset(connection)
        if what:
            lost.append(f"{what} on the database {alias!r}")
        _restore_time_zone(connection)
    return lost


def drop_connections() -> None:
    """Closes and forgets all connections of this thread, whatever state they are in."""
    for connection in connections.all(initialized_only=True):
        with suppress(Exception):
            connection.connection.close()
        del connections[connection.alias]


def _leave_inner_blocks(connection: BaseDatabaseWrapper, before: Before) -> str:
    """Makes the transaction in which the function ran roll back, if the function broke it. Returns
    a description of that, or an empty text."""
    state, depth = _server_state(connection), len(connection.atomic_blocks)
    if state == _UNUSABLE or (before.has_begun and state == _IDLE):
        what = _ENDED
    elif connection.needs_rollback or state == _IN_ERROR:
        what = _BROKEN
    elif depth != before.blocks:
        what = _OPEN if depth > before.blocks else _ENDED
    else:
        return ""
    # The code that entered the outer blocks rolls them back.
    del connection.atomic_blocks[before.blocks :]
    del connection.savepoint_ids[before.savepoints :]
    connection.needs_rollback = True
    if state == _UNUSABLE:
        with suppress(Exception):  # the driver's own, if it is closed
            connection.close()
    return what


def _reset(connection: BaseDatabaseWrapper) -> str:
    """Rolls back and closes a connection that is not as Django left it. Returns a description of
    the transaction that was open, or an empty text."""
    if not connection.in_atomic_block and connection.connection is None:
        return ""
    state = _server_state(connection)
    is_open = connection.in_atomic_block or state in (_IN_TRANSACTION, _IN_ERROR)
    has_autocommit = connection.autocommit == connection.settings_dict["AUTOCOMMIT"]
    if not is_open and state == _IDLE and has_autocommit:
        return ""
    is_broken = connection.needs_rollback or state == _IN_ERROR
    # The next use connects anew, with isolation level and search path as the settings have them.
    with suppress(Exception):  # the driver's own, too
        connection.connection.rollback()
    connection.in_atomic_block = connection.needs_rollback = False
    connection.closed_in_transaction = False
    connection.savepoint_ids, connection.atomic_blocks = [], []
    connection.run_on_commit = []
    with suppress(Error):
        connection.set_autocommit(True)  # an SQLite database in memory is not closed
    with suppress(Error):
        connection.close()
    return (_BROKEN if is_broken else _OPEN) if is_open else ""


def _restore_time_zone(connection: BaseDatabaseWrapper) -> None:
    # Django reads every time in the zone that it has set for the session, also if a function has
    # set another one.
    if (server := getattr(connection.connection, "pgconn", None)) is None:  # not psycopg 3
        return
    try:
        zone = server.parameter_status(b"TimeZone").decode()
    except Exception:  # noqa: BLE001  (the driver's own: it is closed)
        return
    if zone != connection.timezone_name:
        # In a broken transaction this fails, and the rollback restores the zone.
        with suppress(Error), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('TimeZone', %s, false)", [connection.timezone_name])


def _server_state(connection: BaseDatabaseWrapper) -> int:
    if connection.connection is None:
        return _UNUSABLE
    state = by_vendor(connection, _STATES)
    return _UNUSABLE if state is None else state(connection)


def _sqlite_state(connection: BaseDatabaseWrapper) -> int:
    try:
        return _IN_TRANSACTION if connection.connection.in_transaction else _IDLE
    except Exception:  # noqa: BLE001  (sqlite3's own: it is closed)
        return _UNUSABLE


def _postgresql_state(connection: BaseDatabaseWrapper) -> int:
    raw = connection.connection
    try:
        status = raw.pgconn.transaction_status
    except AttributeError:
        status = raw.info.transaction_status  # psycopg2
    return _POSTGRESQL.get(status, _UNUSABLE)


def _mysql_state(connection: BaseDatabaseWrapper) -> int:
    raw = connection.connection
    if not raw.open:
        return _UNUSABLE
    if connection.in_atomic_block:
        return _IN_TRANSACTION
    # The driver does not know the state. A query costs a round trip, so it is made only where
    # autocommit is off or a statement has begun something.
    has_begun = any(
        wrapper.has_begun
        for wrapper in connection.execute_wrappers
        if isinstance(wrapper, _Statements)
    )
    if raw.get_autocommit() and not has_begun:
        return _IDLE
    try:
        with raw.cursor() as cursor:
            cursor.execute("SELECT @@in_transaction")  # of MariaDB
            return _IN_TRANSACTION if cursor.fetchone()[0] else _UNUSABLE
    except Exception:  # noqa: BLE001  (the driver's own)
        return _IN_TRANSACTION


_STATES: dict[str, Callable[[BaseDatabaseWrapper], int]] = {
    "sqlite": _sqlite_state,
    "postgresql": _postgresql_state,
    "mysql": _mysql_state,
}


class _Statements:
    """Notes which statements begin and end a transaction or a lock of tables."""

    def __init__(self) -> None:
        self.has_begun = False

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        result = execute(sql, params, many, context)
        word = sql.split(maxsplit=1)[0].upper() if sql.strip() else ""
        if word in ("BEGIN", "START", "LOCK"):
            self.has_begun = True
        elif word in ("COMMIT", "ROLLBACK", "UNLOCK") and " TO " not in sql.upper():
            self.has_begun = False
        return result


def _connections_here() -> dict[str, BaseDatabaseWrapper]:
    # `django.db.connections.all()` for each call would take longer than all the rest, which is a
    # microsecond where nothing is wrong.
    try:
        found: dict[str, BaseDatabaseWrapper] = _here.connections
    except AttributeError:
        found = _here.connections = {}
        for connection in connections.all(initialized_only=True):
            _note(connection)
    return found


def _note(connection: BaseDatabaseWrapper, **_: object) -> None:
    # Not in threads that run no functions, and not a copy of a connection, as wake-ups use.
    alias = connection.alias
    is_ours = alias in connections and connections[alias] is connection
    if not (hasattr(_here, "connections") and is_ours):
        return
    state = by_vendor(connection, _STATES)
    if state is not None:
        _here.connections[alias] = connection
    if state is _mysql_state:
        others = [w for w in connection.execute_wrappers if not isinstance(w, _Statements)]
        connection.execute_wrappers[:] = [*others, _Statements()]


connection_created.connect(_note)
