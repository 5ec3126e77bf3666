"""Statements that PostgreSQL parses and plans once for each connection, not at every use.

The plan of a long statement takes longer than what it does. A plan may be kept too long as well:
one that was made for an empty table reads all of it when it has a million rows. So each is made
anew after a few seconds.

A pooler in transaction mode (PgBouncer) gives each transaction another server connection, where a
statement is unknown, or is another client's of the same name. So nothing is prepared through a
pooler. An error of a prepared statement would abort the caller's transaction, so none is used
inside of one.
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

from durable_monty.operations import sql

logger = logging.getLogger("durable_monty")

# A connection that serves one request never gets there.
_OFTEN = 5
_FRESH = 10.0  # seconds
# "does not exist", as after DISCARD ALL; "must not change result type", as after a migration;
# "already exists"; "wrong number of parameters". The statement has done nothing then.
_UNUSABLE = frozenset({"26000", "0A000", "42P05", "42601"})


Statement = tuple[str, tuple[str, ...]]  # its text, and the types of its values


@dataclass(slots=True)
class _Statements:
    """Of one connection. `prepared`: the text of a statement -> its name, and until when. `name`:
    how its names begin; no other connection has such names."""

    uses: dict[str, int] = field(default_factory=dict)
    prepared: dict[str, tuple[str, float]] = field(default_factory=dict)
    name: str = field(default_factory=lambda: f"durable_monty_{secrets.token_hex(8)}")
    made: int = 0


_of: WeakKeyDictionary[Any, _Statements] = WeakKeyDictionary()
_refused: set[str] = set()  # aliases that cannot have any


def rows_of(text: str, types: Sequence[str], values: Sequence[Any], *, using: str) -> list[Any]:
    """What a statement gives. It has a `%s` for each value, of these types in turn."""
    connection = connections[using]
    connection.ensure_connection()
    with connection.cursor() as cursor:
        if not connection.in_atomic_block and using not in _refused:
            try:
                if name := _name(using, cursor, text, types):
                    cursor.execute(f"EXECUTE {name}({sql.placeholders(types)})", values)
                    return list(cursor.fetchall())
            except DatabaseError as exc:
                if getattr(exc.__cause__, "sqlstate", None) not in _UNUSABLE:
                    raise
                _refused.add(using)
                logger.warning(
                    "no prepared statements from here on: %s", exc, extra={"reason": str(exc)}
                )
        cursor.execute(text, values)
        return list(cursor.fetchall())


def _name(using: str, cursor: Any, text: str, types: Sequence[str]) -> str | None:
    """The statement's, once it has been used often."""
    driver = connections[using].connection
    statements = _of.setdefault(driver, _Statements())
    name, until = statements.prepared.get(text, ("", 0.0))
    if name and time.monotonic() < until:
        return name
    uses = statements.uses[text] = statements.uses.get(text, 0) + 1
    if uses <= _OFTEN:
        return None
    if not statements.made and _is_pooled(driver, cursor):
        _refused.add(using)
        logger.info("no prepared statements: the database is behind a pooler")
        return None
    if name:
        del statements.prepared[text]
        cursor.execute(f"DEALLOCATE {name}")
    statements.made += 1
    name = f"{statements.name}_{statements.made}"
    numbers = iter(range(1, len(types) + 1))
    numbered = re.sub("%s", lambda _mark: f"${next(numbers)}", text)
    cursor.execute(f"PREPARE {name} ({', '.join(types)}) AS {numbered}", None)
    statements.prepared[text] = (name, time.monotonic() + _FRESH)
    return name


def _is_pooled(driver: Any, cursor: Any) -> bool:
    """Whether there is a pooler in between: it tells its clients a process number of its own, as
    the one by which they cancel a query."""
    cursor.execute("SELECT pg_backend_pid()")
    (pid,) = cursor.fetchone()
    return bool(pid != driver.info.backend_pid)
