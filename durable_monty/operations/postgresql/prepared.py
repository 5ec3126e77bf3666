"""Statements that PostgreSQL parses and plans once for each connection, not at every use.

Planning a long statement takes longer than executing it.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from django.db import DatabaseError, connections

from durable_monty.models import clock
from durable_monty.operations.sql import placeholders

logger = logging.getLogger("durable_monty")

# A connection that serves one request never gets there.
_OFTEN = 5
# A plan that was made for an empty table reads all of it when it has a million rows. So each is
# made again after so many seconds.
_FRESH = 10.0
# "does not exist", as after DISCARD ALL; "must not change result type", as after a migration;
# "already exists"; "wrong number of parameters". The statement has done nothing then.
_UNUSABLE = frozenset({"26000", "0A000", "42P05", "42601"})


@dataclass(slots=True)
class _Statements:
    """The statements of one connection.

    `prepared` maps the text of a statement to its name and the time until which it is used. All
    names begin with `name`, which no other connection uses.
    """

    uses: dict[str, int] = field(default_factory=dict)
    prepared: dict[str, tuple[str, float]] = field(default_factory=dict)
    name: str = field(default_factory=lambda: f"durable_monty_{secrets.token_hex(8)}")
    made: int = 0


_of: WeakKeyDictionary[Any, _Statements] = WeakKeyDictionary()
_refused: set[str] = set()  # aliases of databases that cannot have any


def rows_of(statement: str, values: Sequence[Any], using: str) -> list[Any]:
    """Executes a statement, which has a `%s` for each value, and returns its rows."""
    connection = connections[using]
    connection.ensure_connection()
    # Where time is stopped, another moment would be another statement: none is prepared.
    is_stopped, statement = clock.stopped is not None, clock.with_stopped(statement)
    with connection.cursor() as cursor:
        # Not in the caller's transaction, which an error of a prepared statement would abort.
        if not (connection.in_atomic_block or using in _refused or is_stopped):
            try:
                if name := _prepare(using, cursor, statement):
                    cursor.execute(f"EXECUTE {name}({placeholders(values)})", values)
                    return list(cursor.fetchall())
            except DatabaseError as exc:
                if getattr(exc.__cause__, "sqlstate", None) not in _UNUSABLE:
                    raise
                _refused.add(using)
                logger.warning(
                    "no prepared statements from here on: %s", exc, extra={"reason": str(exc)}
                )
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def _prepare(using: str, cursor: Any, statement: str) -> str | None:
    """Returns the name of a statement that is used often; None if it is not."""
    driver = connections[using].connection
    statements = _of.setdefault(driver, _Statements())
    name, until = statements.prepared.get(statement, ("", 0.0))
    if name and time.monotonic() < until:
        return name
    uses = statements.uses[statement] = statements.uses.get(statement, 0) + 1
    if uses <= _OFTEN:
        return None
    if not statements.made:
        # A pooler in transaction mode (PgBouncer) gives each transaction another connection, where
        # a statement is unknown or belongs to another client. It is recognised by the process
        # number of its own that it gives its clients, for cancelling queries.
        cursor.execute("SELECT pg_backend_pid()")
        if cursor.fetchone() != (driver.info.backend_pid,):
            _refused.add(using)
            logger.info("no prepared statements: the database is behind a pooler")
            return None
    if name:
        del statements.prepared[statement]
        cursor.execute(f"DEALLOCATE {name}")
    statements.made += 1
    name = f"{statements.name}_{statements.made}"
    # PostgreSQL infers the types of the parameters.
    numbers = iter(range(1, statement.count("%s") + 1))
    numbered = re.sub("%s", lambda _mark: f"${next(numbers)}", statement)
    cursor.execute(f"PREPARE {name} AS {numbered}", None)
    statements.prepared[statement] = (name, time.monotonic() + _FRESH)
    return name
