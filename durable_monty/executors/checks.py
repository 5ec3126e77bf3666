"""System checks of the URLs that functions are registered with, and of secrets of webhooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    """Only where the executor is in use: other projects leave these functions to other workers."""
    if not {HTTP_EXECUTOR, SHORT_NAMES[HTTP_EXECUTOR]} & set(_named()):
        return []
    options = options_of(HTTP_EXECUTOR)
    guard = {name: options[name] for name in _GUARD if name in options}
    try:
        allowed = AllowedHosts(guard.pop("allowed_hosts", ()), **guard)
    except (TypeError, ValueError) as exc:
        return [_error(f"DURABLE_MONTY['EXECUTORS']['http'] cannot be used: {exc}.")]
    return [_error(f"{what}: {exc}") for what, exc in _refused(allowed, options)]


@register("durable_monty")
def check_secrets(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """What is wrong would else be found by the first job that shows its secret."""
    return list(_wrong_secrets())


def _wrong_secrets() -> Iterator[CheckMessage]:
    executors = conf.current().EXECUTORS
    for key, options in executors.items() if isinstance(executors, dict) else ():
        if isinstance(options, dict) and WEBHOOK_SECRET in options:
            try:
                check_secret(key, options[WEBHOOK_SECRET])
            except ImproperlyConfigured as exc:
                yield Error(
                    str(exc),
                    hint="Make one with secrets.token_urlsafe().",
                    id="durable_monty.E010",
                )


def _named() -> Sequence[str]:
    try:
        return configured_names()
    except TypeError:  # EXECUTORS is no dict: another check says so
        return ()


def _refused(allowed: AllowedHosts, options: Any) -> Iterator[tuple[str, UrlNotAllowed]]:
    urls = {f"{entry.name}()": entry.url for entry in FUNCTION_REGISTRY.values() if entry.url}
    urls |= {f"The option urls has {name!r}": url for name, url in _dict(options, "urls").items()}
    if base_url := options.get("base_url"):
        urls["The option base_url"] = base_url
    for what, url in urls.items():
        try:
            allowed.target(url)
        except UrlNotAllowed as exc:
            yield what, exc


def _dict(options: Any, name: str) -> dict[str, str]:
    found = options.get(name)
    return found if isinstance(found, dict) else {}


def _error(text: str) -> CheckMessage:
    return Error(
        text,
        hint="Correct the URL, or the options allowed_hosts, allow_http and allow_private of the "
        "executor 'http'.",
        id="durable_monty.E009",
    )
