"""The door to what one database does in fewer statements than the portable code."""

from __future__ import annotations

from functools import lru_cache

from django.db import connections

from durable_monty.operations.database import Database
from durable_monty.operations.postgresql import PostgreSQL
from durable_monty.operations.sqlite import SQLite
from durable_monty.vendors import by_vendor

_DATABASES: dict[str, type[Database]] = {"postgresql": PostgreSQL, "sqlite": SQLite}


@lru_cache(maxsize=8)
def shortcuts_of(using: str) -> Database:
    """Returns the shortcuts of a database. Ask it first, and do by portable code what it left."""
    return (by_vendor(connections[using], _DATABASES) or Database)(using)
