"""What a function leaves behind in the database connections of the thread that it ran in.

A function may turn autocommit off, begin a transaction and not end it, or close a connection under
Django. The next statement in that thread, which may be the one that records its answer, must not
suffer from it. To look takes about a microsecond where nothing is wrong.
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


class Before(NamedTuple):
    """A transaction in which the function runs: its atomic blocks and savepoints, and whether the
    server has begun it."""

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
    """Ends what a function left open since `before`. Returns what it did, if that lost what it
    wrote."""
    deeds = []
    for alias, connection in _connections_here().items():
        if alias in before:
            if what := _wrong_inside(connection, before[alias]):
                _leave_blocks(connection, before[alias])
                deeds.append(f"{what} on the database {alias!r}")
        elif not _is_right(connection):
            if what := _left_open(connection):
                deeds.append(f"{what} on the database {alias!r}")
            _reset(connection)
        _restore_time_zone(connection)
    return deeds


def _restore_time_zone(connection: BaseDatabaseWrapper) -> None:
    """Django takes every time that it reads for one of the zone that it has set for the
    session, also if a function has set another one."""
    if (server := getattr(connection.connection, "pgconn", None)) is None:  # not psycopg 3
        return
    try:
        zone = server.parameter_status(b"TimeZone").decode()
    except Exception:  # noqa: BLE001  (the driver's own: it is closed)
        return
    if zone != connection.timezone_name:
        # In a transaction that is broken its rollback restores it.
        with suppress(Error), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('TimeZone', %s, false)", [connection.timezone_name])


def _is_right(connection: BaseDatabaseWrapper) -> bool:
    return not connection.in_atomic_block and (
        connection.connection is None
        or (
            _server_state(connection) == _IDLE
            and connection.autocommit == connection.settings_dict["AUTOCOMMIT"]
        )
    )


def _wrong_inside(connection: BaseDatabaseWrapper, before: Before) -> str:
    """Returns what the function did to the transaction in which it ran; "" if nothing."""
    state = _server_state(connection)
    if state == _UNUSABLE or (before.has_begun and state == _IDLE):
        return _ENDED
    if connection.needs_rollback or state == _IN_ERROR:
        return _BROKEN
    depth = len(connection.atomic_blocks)
    if depth != before.blocks:
        return _OPEN if depth > before.blocks else _ENDED
    return ""


def _left_open(connection: BaseDatabaseWrapper) -> str:
    state = _server_state(connection)
    if not connection.in_atomic_block and state not in (_IN_TRANSACTION, _IN_ERROR):
        return ""
    return _BROKEN if connection.needs_rollback or state == _IN_ERROR else _OPEN


def _leave_blocks(connection: BaseDatabaseWrapper, before: Before) -> None:
    """Leaves the blocks that the function entered; whoever began the others rolls back."""
    del connection.atomic_blocks[before.blocks :]
    del connection.savepoint_ids[before.savepoints :]
    connection.needs_rollback = True
    if _server_state(connection) == _UNUSABLE:
        with suppress(Exception):  # the driver's own, if it is closed
            connection.close()


def _reset(connection: BaseDatabaseWrapper) -> None:
    """Rolls back and closes; the next use connects anew, with the isolation level, the search path
    and whatever else the function may have changed as the settings have them."""
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


# The server's side

_IDLE, _IN_TRANSACTION, _IN_ERROR, _UNUSABLE = range(4)


def _server_state(connection: BaseDatabaseWrapper) -> int:
    if connection.connection is None:
        return _UNUSABLE
    state = by_vendor(connection, _STATES)
    return _UNUSABLE if state is None else state(connection)


def _of_sqlite(connection: BaseDatabaseWrapper) -> int:
    try:
        return _IN_TRANSACTION if connection.connection.in_transaction else _IDLE
    except Exception:  # noqa: BLE001  (sqlite3's own: it is closed)
        return _UNUSABLE


def _of_postgresql(connection: BaseDatabaseWrapper) -> int:
    raw = connection.connection
    try:
        status = raw.pgconn.transaction_status
    except AttributeError:
        status = raw.info.transaction_status  # psycopg2
    return _POSTGRESQL.get(status, _UNUSABLE)


def _of_mysql(connection: BaseDatabaseWrapper) -> int:
    """The driver does not tell. The server is asked where autocommit is off, or a statement has
    begun something."""
    raw = connection.connection
    if not raw.open:
        return _UNUSABLE
    if connection.in_atomic_block:
        return _IN_TRANSACTION
    has_begun = any(
        wrapper.has_begun
        for wrapper in connection.execute_wrappers
        if isinstance(wrapper, _Statements)
    )
    if raw.get_autocommit() and not has_begun:
        return _IDLE
    try:
        with raw.cursor() as cursor:
            cursor.execute("SELECT @@in_transaction")  # MariaDB's
            return _IN_TRANSACTION if cursor.fetchone()[0] else _UNUSABLE
    except Exception:  # noqa: BLE001  (the driver's own)
        return _IN_TRANSACTION


# libpq's PQTRANS_IDLE, _INTRANS and _INERROR; what is in the middle of something cannot be used.
_POSTGRESQL = {0: _IDLE, 2: _IN_TRANSACTION, 3: _IN_ERROR}
_STATES: dict[str, Callable[[BaseDatabaseWrapper], int]] = {
    "sqlite": _of_sqlite,
    "postgresql": _of_postgresql,
    "mysql": _of_mysql,
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


# The connections of a thread: to ask `django.db.connections` takes longer than all the rest.

_here = threading.local()


def _connections_here() -> dict[str, BaseDatabaseWrapper]:
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
    if state is _of_mysql:
        others = [w for w in connection.execute_wrappers if not isinstance(w, _Statements)]
        connection.execute_wrappers[:] = [*others, _Statements()]


connection_created.connect(_note)
