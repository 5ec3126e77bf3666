"""The one place that asks which kind of database a connection has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")


def by_vendor(connection: BaseDatabaseWrapper, choices: Mapping[str, T]) -> T | None:
    """Returns the choice for the connection's kind of database, or None if there is none."""
    return choices.get(connection.vendor)


def name_of(connection: BaseDatabaseWrapper) -> str:
    """Returns the name of the connection's kind of database, without connecting.

    `display_name` asks the server whether it is MariaDB.
    """
    return str(connection.vendor)
