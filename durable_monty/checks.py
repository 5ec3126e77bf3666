"""System checks: what is wrong with the settings in `msg`, what to do about it in `hint`.

None of them looks at the data or at migrations: an error here would stop `migrate` itself.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands
from django.db import DatabaseError, InterfaceError, connections

from durable_monty import conf, discovery
from durable_monty.durations import LONGEST, LONGEST_TEXT
from durable_monty.exceptions import FunctionError
from durable_monty.executors.loading import SHORT_NAMES, executor_class
from durable_monty.policy import Retry
from durable_monty.wakeups import can_listen


@register("durable_monty")
def check_settings(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    return [
        *_not_a_dict(),
        *_unknown_settings(),
        *_wrong_types(),
        *_missing_modules(),
        *_executors(),
        *_time_zone(),
    ]


@register("durable_monty")
def check_commands(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    owner = get_commands().get("runworker")
    owner_name = owner if isinstance(owner, str) else getattr(owner, "name", "?")
    if owner_name == "durable_monty":
        return []
    return [
        Warning(
            f"`manage.py runworker` belongs to {owner_name!r}, not to durable_monty.",
            hint="List 'durable_monty' before it in INSTALLED_APPS, or use durable_worker.",
            id="durable_monty.W001",
        )
    ]


@register("durable_monty")
def check_workflow_modules(
    app_configs: Sequence[AppConfig] | None, **_: Any
) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for module in discovery.modules_outside_apps():
        package = module.rpartition(".")[0]
        messages.append(
            Warning(
                f"Workers do not find the functions of {module!r}: it is in no installed app.",
                hint=f"Add {package!r} to INSTALLED_APPS, or {module!r} to "
                "DURABLE_MONTY['FUNCTION_MODULES']."
                if package
                else f"Move it into an installed app, or add {module!r} to "
                "DURABLE_MONTY['FUNCTION_MODULES'].",
                id="durable_monty.W002",
            )
        )
    return messages


@register("durable_monty")
def check_queue(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """What django-q2 needs, as measured; only when its executor is the one in use."""
    if "django_q" not in str(conf.current().EXECUTOR):
        return []
    if "django_q" not in settings.INSTALLED_APPS:
        return [
            Error(
                "'django_q' is not in INSTALLED_APPS, and the executor needs it.",
                hint="Add it, or set DURABLE_MONTY['EXECUTOR'] to another executor.",
                id="durable_monty.E003",
            )
        ]
    return list(_queue_settings(getattr(settings, "Q_CLUSTER", {})))


@register("durable_monty", Tags.database)
def check_databases(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for alias in databases or ():
        vendor = connections[alias].vendor
        options = connections[alias].settings_dict
        if vendor == "sqlite":
            messages += _sqlite(alias, options)
        elif vendor == "postgresql":
            messages += _postgresql(alias, options)
        elif vendor == "mysql":
            messages += _mysql(alias, options)
        else:
            messages.append(
                Error(
                    f"The database {alias!r} is {vendor}, which durable_monty does not support.",
                    hint="Use PostgreSQL, SQLite, MariaDB or MySQL.",
                    id="durable_monty.E005",
                )
            )
    return messages


def _not_a_dict() -> Iterator[CheckMessage]:
    found = getattr(settings, "DURABLE_MONTY", {})
    if not isinstance(found, dict):
        yield Error(
            f"DURABLE_MONTY is {found!r}.",
            hint="It must be a dict of settings.",
            id="durable_monty.E002",
        )


def _unknown_settings() -> Iterator[CheckMessage]:
    for name in sorted(conf.given().keys() - conf.NAMES, key=str):
        close = difflib.get_close_matches(str(name), conf.NAMES)
        yield Error(
            f"DURABLE_MONTY has no setting {name!r}.",
            hint=f"Did you mean {close[0]!r}?"
            if close
            else f"Known settings: {', '.join(sorted(conf.NAMES))}.",
            id="durable_monty.E001",
        )


def _wrong_types() -> Iterator[CheckMessage]:
    given = conf.given()
    for field in fields(conf.Settings):
        if field.name not in given:
            continue
        value, default = given[field.name], getattr(conf.Settings(), field.name)
        if field.name == "AUTODISCOVER":
            fits = value is None or isinstance(value, str)
        elif field.name == "CHECK":
            fits = value in conf.CHECKS
        elif isinstance(default, int | float):
            kinds = (int,) if isinstance(default, int) else (int, float)
            fits = isinstance(value, kinds) and not isinstance(value, bool)
            fits = fits and value > 0 and (isinstance(default, int) or value <= LONGEST)
        elif field.name == "EXECUTORS":
            fits = isinstance(value, dict) and all(isinstance(v, dict) for v in value.values())
        elif isinstance(default, dict):
            fits = isinstance(value, dict) and _is_retry(value)
        elif isinstance(default, str):
            fits = isinstance(value, str)
        else:
            fits = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
        if not fits:
            yield Error(
                f"DURABLE_MONTY[{field.name!r}] is {value!r}.",
                hint=f"It must be {_wanted(default, field.name)}; its default is {default!r}.",
                id="durable_monty.E002",
            )


def _is_retry(value: dict[str, Any]) -> bool:
    try:
        Retry(**value)
    except (TypeError, FunctionError):
        return False
    return True


_WANTED = {
    "AUTODISCOVER": "a module name, or None",
    "EXECUTORS": "a dict of executors to dicts of their options",
    "CHECK": "one of 'error', 'warn' and 'off'",
}


def _wanted(default: Any, name: str) -> str:
    if name in _WANTED:
        return _WANTED[name]
    if isinstance(default, dict):
        return "a dict of the arguments of Retry"
    if isinstance(default, int):
        return "a positive integer"
    if isinstance(default, float):
        return f"a positive number of at most {LONGEST_TEXT}"
    return "a string" if isinstance(default, str) else "a list of module paths"


def _missing_modules() -> Iterator[CheckMessage]:
    for path in discovery.missing_modules():
        yield Error(
            f"DURABLE_MONTY['FUNCTION_MODULES'] names {path!r}, and there is no such module.",
            hint="Correct the path, or remove it.",
            id="durable_monty.E007",
        )


def _executors() -> Iterator[CheckMessage]:
    yield from _executor("EXECUTOR", conf.current().EXECUTOR)
    others = conf.current().EXECUTORS
    for name in others if isinstance(others, dict) else ():
        yield from _executor("EXECUTORS", name)


def _executor(setting: str, name: Any) -> Iterator[CheckMessage]:
    if not isinstance(name, str) or name in {*SHORT_NAMES, *SHORT_NAMES.values()}:
        return  # those of the package take a while to import
    try:
        executor_class(name)
    except ImproperlyConfigured as exc:
        verb = "is" if setting == "EXECUTOR" else "has"
        yield Error(
            f"DURABLE_MONTY[{setting!r}] {verb} {name!r}, which cannot be used: "
            f"{exc.__cause__ or exc}",
            hint=f"Use {', '.join(map(repr, SHORT_NAMES))}, or the dotted path of a subclass of "
            "durable_monty.Executor.",
            id="durable_monty.E008",
        )


def _time_zone() -> Iterator[CheckMessage]:
    if not settings.USE_TZ:
        yield Error(
            "USE_TZ is False; durable_monty stores moments, not wall-clock times.",
            hint="Set USE_TZ = True.",
            id="durable_monty.E004",
        )


def _queue_settings(queue: dict[str, Any]) -> Iterator[CheckMessage]:
    timeout, retry = queue.get("timeout"), queue.get("retry", 60)
    if not timeout or timeout >= retry:
        yield Warning(
            f"Q_CLUSTER has timeout={timeout!r} and retry={retry!r}: django-q2 needs both, "
            "with retry above timeout.",
            hint="For example Q_CLUSTER = {..., 'timeout': 600, 'retry': 660}.",
            id="durable_monty.W010",
        )
    for name, wanted, why in [
        ("save_limit", -1, "it stores a row for each task, and on SQLite it locks up"),
        ("ack_failures", True, "a task that raises is delivered again for ever"),
    ]:
        if queue.get(name) != wanted:
            yield Warning(
                f"Q_CLUSTER[{name!r}] is not {wanted!r}: {why}.",
                hint=f"Set it to {wanted!r}.",
                id="durable_monty.W011",
            )


def _sqlite(alias: str, options: dict[str, Any]) -> Iterator[CheckMessage]:
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
    if not _hears(alias):
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


def _hears(alias: str) -> bool:
    try:
        return can_listen(alias)
    except (DatabaseError, InterfaceError):
        return True  # out of reach: others say so


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
