"""System checks of INSTALLED_APPS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Warning, register
from django.core.management import get_commands

from durable_monty import discovery


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
