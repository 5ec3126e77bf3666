"""System checks of the settings DURABLE_MONTY, INSTALLED_APPS, USE_TZ and Q_CLUSTER."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands

from durable_monty import conf, discovery
from durable_monty.durations import DAY, LONGEST, LONGEST_TEXT
from durable_monty.exceptions import FunctionError
from durable_monty.executors.loading import SHORT_NAMES, executor_class
from durable_monty.policy import Retry

# A longer pause or lease is a mistake of units: nothing would run, or come back, for days.
_AT_MOST_A_DAY = ("LEASE", "POLL_INTERVAL")


@register("durable_monty")
def check_settings(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Checks the names and values of DURABLE_MONTY."""
    messages: list[CheckMessage] = []
    given, defaults = conf.given(), conf.Settings()
    found = getattr(settings, "DURABLE_MONTY", {})
    if not isinstance(found, dict):
        hint = "It must be a dict of settings."
        messages.append(Error(f"DURABLE_MONTY is {found!r}.", hint=hint, id="durable_monty.E002"))
    for name in sorted(given.keys() - conf.NAMES, key=str):
        close = difflib.get_close_matches(str(name), conf.NAMES)
        hint = f"Known settings: {', '.join(sorted(conf.NAMES))}."
        if close:
            hint = f"Did you mean {close[0]!r}?"
        text = f"DURABLE_MONTY has no setting {name!r}."
        messages.append(Error(text, hint=hint, id="durable_monty.E001"))
    for name in (field.name for field in fields(conf.Settings) if field.name in given):
        value, default = given[name], getattr(defaults, name)
        fits, wanted = _judge(name, value, default)
        if not fits:
            hint = f"It must be {wanted}; its default is {default!r}."
            text = f"DURABLE_MONTY[{name!r}] is {value!r}."
            messages.append(Error(text, hint=hint, id="durable_monty.E002"))
    return messages


def _judge(name: str, value: Any, default: Any) -> tuple[bool, str]:
    """Returns whether a setting can have this value, and a text that says which it can have."""
    # True is an int for Python, and no number of anything.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "AUTODISCOVER":
        fits, wanted = value is None or isinstance(value, str), "a module name, or None"
    elif name == "CHECK":
        fits, wanted = value in conf.CHECKS, "one of 'error', 'warn' and 'off'"
    elif name == "EXECUTORS":
        wanted = "a dict of executors to dicts of their options"
        fits = isinstance(value, dict) and all(isinstance(v, dict) for v in value.values())
    elif isinstance(default, int):
        fits, wanted = is_number and isinstance(value, int) and value > 0, "a positive integer"
    elif isinstance(default, float):
        most, text = LONGEST, LONGEST_TEXT
        if name in _AT_MOST_A_DAY:
            most, text = DAY, f"{DAY:,.0f} seconds (a day)"
        fits, wanted = is_number and 0 < value <= most, f"a positive number of at most {text}"
    elif isinstance(default, dict):
        wanted = "a dict of the arguments of Retry"
        try:
            Retry(**value)
            fits = isinstance(value, dict)
        except (TypeError, FunctionError):
            fits = False
    elif isinstance(default, str):
        fits, wanted = isinstance(value, str), "a string"
    else:
        wanted = "a list of module paths"
        fits = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
    return fits, wanted


@register("durable_monty")
def check_function_modules(
    app_configs: Sequence[AppConfig] | None, **_: Any
) -> list[CheckMessage]:
    return [
        Error(
            f"DURABLE_MONTY['FUNCTION_MODULES'] names {path!r}, and there is no such module.",
            hint="Correct the path, or remove it.",
            id="durable_monty.E007",
        )
        for path in discovery.missing_modules()
    ]


@register("durable_monty")
def check_executors(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Checks that the classes of the executors can be imported."""
    others = conf.current().EXECUTORS
    named = [("EXECUTOR", "is", conf.current().EXECUTOR)]
    named += [("EXECUTORS", "has", name) for name in others if isinstance(others, dict)]
    messages: list[CheckMessage] = []
    for setting, verb, name in named:
        # The package's own take a while to import.
        if not isinstance(name, str) or name in {*SHORT_NAMES, *SHORT_NAMES.values()}:
            continue
        try:
            executor_class(name)
        except ImproperlyConfigured as exc:
            messages.append(
                Error(
                    f"DURABLE_MONTY[{setting!r}] {verb} {name!r}, which cannot be used: "
                    f"{exc.__cause__ or exc}",
                    hint=f"Use {', '.join(map(repr, SHORT_NAMES))}, or the dotted path of a "
                    "subclass of durable_monty.Executor.",
                    id="durable_monty.E008",
                )
            )
    return messages


@register("durable_monty")
def check_commands(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    # Django takes the command of the app that is listed first; Channels has a `runworker`, too.
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
def check_time_zone(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    # A local time comes twice when the clocks go back: nothing could be due at it.
    if settings.USE_TZ:
        return []
    return [
        Error(
            "USE_TZ is False; durable_monty stores moments, not wall-clock times.",
            hint="Set USE_TZ = True.",
            id="durable_monty.E004",
        )
    ]


@register("durable_monty")
def check_queue(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Checks the settings of django-q2, if its executor is the one in use."""
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
    messages: list[CheckMessage] = []
    queue = getattr(settings, "Q_CLUSTER", {})
    # A task that runs for longer than `retry` is delivered to a second process as well.
    timeout, retry = queue.get("timeout"), queue.get("retry", 60)
    if not timeout or timeout >= retry:
        messages.append(
            Warning(
                f"Q_CLUSTER has timeout={timeout!r} and retry={retry!r}: django-q2 needs both, "
                "with retry above timeout.",
                hint="For example Q_CLUSTER = {..., 'timeout': 600, 'retry': 660}.",
                id="durable_monty.W010",
            )
        )
    for name, wanted, why in [
        ("save_limit", -1, "it stores a row for each task, and on SQLite it locks up"),
        ("ack_failures", True, "a task that raises is delivered again for ever"),
    ]:
        if queue.get(name) != wanted:
            text, hint = f"Q_CLUSTER[{name!r}] is not {wanted!r}: {why}.", f"Set it to {wanted!r}."
            messages.append(Warning(text, hint=hint, id="durable_monty.W011"))
    return messages
