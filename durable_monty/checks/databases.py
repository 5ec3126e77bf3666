"""System checks of the databases that hold executions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError, InterfaceError, connections

from durable_monty import conf
from durable_monty.vendors import by_vendor
from durable_monty.wakeups import can_listen


@register("durable_monty", Tags.database)
def check_databases(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        check = by_vendor(
            connection, {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql}
        )
        if check is not None:
            messages += check(alias, connection.settings_dict)
        else:
            messages.append(
                Error(
                    f"The database {alias!r} is {connection.display_name}, which durable_monty "
                    "does not support.",
                    hint="Use PostgreSQL, SQLite, MariaDB or MySQL.",
                    id="durable_monty.E005",
                )
            )
    return messages


def _sqlite(alias: str, options: dict[str, Any]) -> Iterator[CheckMessage]:
    # A deferred transaction that becomes a writer cannot wait: its snapshot is old by then.
    if options["OPTIONS"].get("transaction_mode") != "IMMEDIATE":
        yield Warning(
            f"The SQLite database {alias!r} uses deferred transactions: two writers get "
            '"database is locked" at once, whatever the timeout.',
            hint="Set OPTIONS['transaction_mode'] = 'IMMEDIATE'.",
            id="durable_monty.W020",
        )
    if "wal" not in options["OPTIONS"].get("init_command", "").lower():
        yield Warning(
            f"The SQLite database {alias!r} is not set to WAL: a reader blocks every writer.",
            hint="Set OPTIONS['init_command'] = "
            "'PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL'.",
            id="durable_monty.W021",
        )


def _postgresql(alias: str, options: dict[str, Any]) -> Iterator[CheckMessage]:
    yield from _connection_age(alias, options)
    if options["OPTIONS"].get("pool"):
        yield Warning(
            f"The database {alias!r} has a connection pool, which does not survive the fork "
            "of django-q2's workers.",
            hint="Remove OPTIONS['pool'] from the settings of worker processes.",
            id="durable_monty.W024",
        )
    try:
        hears = can_listen(alias)
    except (DatabaseError, InterfaceError):
        hears = True  # the database is out of reach, which other checks report
    if not hears:
        yield Warning(
            f"Wake-ups do not arrive through the database {alias!r}: LISTEN does not work there, "
            f"so workers poll every {conf.current().POLL_INTERVAL} seconds.",
            hint="A pooler in transaction mode loses them: let workers connect to the server "
            "itself, or in session mode. Behind such a pooler, set DISABLE_SERVER_SIDE_CURSORS to "
            "True. The driver must be psycopg 3.",
            id="durable_monty.W025",
        )
    # Django's default is the server's own, READ COMMITTED unless somebody changed it.
    level = options["OPTIONS"].get("isolation_level")
    if level is not None and getattr(level, "name", level) not in ("READ_COMMITTED", 2):
        yield _isolation(alias)


def _mysql(alias: str, options: dict[str, Any]) -> Iterator[CheckMessage]:
    yield from _connection_age(alias, options)
    level = options["OPTIONS"].get("isolation_level", "read committed")  # Django's default
    if level is None or level.lower() != "read committed":
        yield _isolation(alias)


def _connection_age(alias: str, options: dict[str, Any]) -> Iterator[CheckMessage]:
    if options["CONN_MAX_AGE"] == 0:
        yield Warning(
            f"CONN_MAX_AGE of the database {alias!r} is 0: a connection for each call makes "
            "workers about ten times slower.",
            hint="Set it to 600, for example.",
            id="durable_monty.W022",
        )
    elif not options["CONN_HEALTH_CHECKS"]:
        yield Warning(
            f"CONN_HEALTH_CHECKS of the database {alias!r} is off: after a restart of the "
            "database each worker fails once.",
            hint="Set it to True.",
            id="durable_monty.W023",
        )


def _isolation(alias: str) -> CheckMessage:
    return Error(
        f"The isolation level of the database {alias!r} is not READ COMMITTED: a worker could "
        "see that an answer came and not the answer.",
        hint="Remove OPTIONS['isolation_level'], or set it to read committed.",
        id="durable_monty.E006",
    )
