"""System checks of the settings DURABLE_MONTY, USE_TZ and Q_CLUSTER."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from durable_monty import conf, discovery
from durable_monty.durations import LONGEST, LONGEST_TEXT
from durable_monty.exceptions import FunctionError
from durable_monty.executors.loading import SHORT_NAMES, executor_class
from durable_monty.policy import Retry


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
