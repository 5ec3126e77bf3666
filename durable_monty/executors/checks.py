"""System checks of the setting `EXECUTORS`: URLs that functions run at, and webhook secrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from durable_monty import conf
from durable_monty.exceptions import UrlNotAllowed
from durable_monty.executors.http.allowed_hosts import AllowedHosts
from durable_monty.executors.loading import (
    SHORT_NAMES,
    WEBHOOK_SECRET,
    configured_names,
    options_of,
)
from durable_monty.functions import FUNCTION_REGISTRY, HTTP_EXECUTOR
from durable_monty.webhooks.secrets import check_secret

_GUARD = ("allowed_hosts", "allow_http", "allow_private")


@register("durable_monty")
def check_urls(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    # A project that does not use the executor leaves these functions to the workers of others.
    try:
        if {HTTP_EXECUTOR, SHORT_NAMES[HTTP_EXECUTOR]}.isdisjoint(configured_names()):
            return []
    except TypeError:  # EXECUTORS is not a dict, which another check reports
        return []
    options = options_of(HTTP_EXECUTOR)
    guard = {name: options[name] for name in _GUARD if name in options}
    try:
        allowed = AllowedHosts(guard.pop("allowed_hosts", ()), **guard)
    except (TypeError, ValueError) as exc:
        return [_url_error(f"DURABLE_MONTY['EXECUTORS']['http'] cannot be used: {exc}.")]
    urls = [(f"{entry.name}()", entry.url) for entry in FUNCTION_REGISTRY.values() if entry.url]
    named = options.get("urls")
    for name, url in named.items() if isinstance(named, dict) else ():
        urls.append((f"The option urls has {name!r}", url))
    if base_url := options.get("base_url"):
        urls.append(("The option base_url", base_url))
    found = []
    for what, url in urls:
        try:
            allowed.target(url)
        except UrlNotAllowed as exc:
            found.append(_url_error(f"{what}: {exc}"))
    return found


@register("durable_monty")
def check_secrets(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    # Otherwise the first job that shows its secret at the webhook would find the mistake.
    found: list[CheckMessage] = []
    executors = conf.current().EXECUTORS
    for key, options in executors.items() if isinstance(executors, dict) else ():
        if isinstance(options, dict) and WEBHOOK_SECRET in options:
            try:
                check_secret(key, options[WEBHOOK_SECRET])
            except ImproperlyConfigured as exc:
                hint = "Make one with secrets.token_urlsafe()."
                found.append(Error(str(exc), hint=hint, id="durable_monty.E010"))
    return found


def _url_error(text: str) -> CheckMessage:
    return Error(
        text,
        hint="Correct the URL, or the options allowed_hosts, allow_http and allow_private of the "
        "executor 'http'.",
        id="durable_monty.E009",
    )
