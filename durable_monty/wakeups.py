"""Notifications that wake idle workers when something has become due.

They only save time: a notification may be lost, and workers still poll, if less often. PostgreSQL
has LISTEN and NOTIFY, SQLite a counter that each commit changes. With other databases workers poll
every `POLL_INTERVAL` seconds.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db import Error, connections, transaction

from durable_monty.vendors import by_vendor

logger = logging.getLogger("durable_monty")

_CHANNEL = "durable_monty"
# Seconds. NOTIFY takes a lock of the whole server, and one wakes for all that came before.
_COALESCE = 0.005
_WATCH_EVERY = 0.003
_RETRY = 5.0
_PROOF = 2.0
_DEAF_FOR = 300.0  # a pooler stays, but a server that was too slow to answer recovers

# Workers that are notified poll this many times less often than every `POLL_INTERVAL`.
LISTENING_POLL_FACTOR = 20

# The payload of notifications that listeners of this process ignore: their worker knows already.
_OURS = uuid.uuid4().hex

_announced: dict[tuple[str, str], float] = {}


def announce(using: str, *, to_others: bool = False) -> None:
    """Wakes workers once the current transaction, if there is one, has committed.

    `to_others` wakes only those of other processes.
    """
    if (notify := by_vendor(connections[using], _NOTIFY)) is not None:
        # Inside of it, the lock would last until the commit's fsync ends: a third fewer commits.
        payload = _OURS if to_others else ""
        transaction.on_commit(lambda: notify(using, payload), using=using)


def _notify(using: str, payload: str) -> None:
    now = time.monotonic()
    if now - _announced.get((using, payload), 0.0) > _COALESCE:
        _announced[using, payload] = now
        try:
            with connections[using].cursor() as cursor:
                cursor.execute(f"NOTIFY {_CHANNEL}, '{payload}'")
        except Error as exc:
            # The transaction has committed already, and workers poll.
            logger.warning("wake-up not sent: %s", exc, extra={"reason": str(exc)})


_NOTIFY = {"postgresql": _notify}


class Listener:
    """A thread that calls `wake` when something may have become due.

    It has a database connection of its own. `hears` is whether notifications arrive now.
    """

    def __init__(self, using: str, wake: Callable[[], None]) -> None:
        self._using, self._wake = using, wake
        self._stopped = threading.Event()
        self.hears = False
        listen = by_vendor(connections[using], {"postgresql": self._listen, "sqlite": self._watch})
        self._thread: threading.Thread | None = None
        if listen is not None:
            self._thread = threading.Thread(
                target=self._run, args=[listen], name="durable_monty-wakeups", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(2 * _PROOF)

    def _run(self, listen: Callable[[Any], None]) -> None:
        was_deaf = False
        while not self._stopped.is_set():
            connection, pause = connections[self._using].copy(), _RETRY
            try:
                listen(connection)
            except _Deaf:
                pause = _DEAF_FOR
                if not was_deaf:
                    logger.warning(
                        "no wake-ups: LISTEN does not work here, maybe behind a pooler; "
                        "polling instead"
                    )
                was_deaf = True
            except Exception as exc:  # noqa: BLE001  (the driver's own, too)
                logger.warning("wake-ups interrupted: %s", exc, extra={"reason": str(exc)})
            finally:
                self.hears = False
                with suppress(Exception):
                    connection.close()
            self._stopped.wait(pause)

    def _listen(self, connection: Any) -> None:
        if not _hears(connection, self._using):
            raise _Deaf
        self.hears = True
        while not self._stopped.is_set():
            for notification in connection.connection.notifies(timeout=0.1, stop_after=1):
                if notification.payload != _OURS:
                    self._wake()

    def _watch(self, connection: Any) -> None:
        before = None
        with connection.cursor() as cursor:
            self.hears = True
            while not self._stopped.wait(_WATCH_EVERY):
                (version,) = cursor.execute("PRAGMA data_version").fetchone()
                if version != before:
                    before = version
                    self._wake()


class _Deaf(Exception):
    """No notification arrives here."""


def can_listen(using: str) -> bool:
    """Returns whether a notification that another connection sends arrives."""
    connection = connections[using].copy()
    try:
        return _hears(connection, using)
    finally:
        connection.close()


def _hears(connection: Any, using: str) -> bool:
    connection.ensure_connection()
    if not callable(getattr(connection.connection, "notifies", None)):
        return False  # psycopg2
    proof = uuid.uuid4().hex
    with connection.wrap_database_errors:
        connection.connection.autocommit = True
        connection.connection.execute(f"LISTEN {_CHANNEL}")
    sender = connections[using].copy()
    try:
        with sender.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [_CHANNEL, proof])
    finally:
        sender.close()
    with connection.wrap_database_errors:
        notifications = connection.connection.notifies(timeout=_PROOF)
        return any(notification.payload == proof for notification in notifications)
