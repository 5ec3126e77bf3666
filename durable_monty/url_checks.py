"""System checks of the URLs that functions are registered with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from durable_monty.exceptions import UrlNotAllowed
from durable_monty.executors.allowed_hosts import AllowedHosts
from durable_monty.executors.loading import SHORT_NAMES, configured_names, options_of
from durable_monty.functions import FUNCTION_REGISTRY, HTTP_EXECUTOR

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
