"""Merges the settings of a project, the dict `DURABLE_MONTY`, with typed defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings with their defaults. Sizes are bytes, times are seconds."""

    # Functions
    AUTODISCOVER: str | None = "workflows"
    FUNCTION_MODULES: Sequence[str] = ()
    RETRY: Mapping[str, Any] = field(default_factory=dict)

    # Workers
    EXECUTOR: str = "durable_monty.executors.django_q.DjangoQExecutor"
    EXECUTORS: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    POLL_INTERVAL: float = 0.05
    BATCH_SIZE: int = 64
    LEASE: float = 60.0
    DRAIN_TIMEOUT: float = 30.0
    SANDBOX_PROCESSES: int = 128

    # Executions
    CHECK: str = "error"
    CANCEL_GRACE: float = 30.0

    # Limits of one execution
    MAX_SOURCE_BYTES: int = 256 * 1024
    MAX_VALUE_BYTES: int = 1024 * 1024
    MAX_LOG_BYTES: int = 64 * 1024
    MAX_CALLS: int = 20_000
    MAX_MEMORY: int = 64 * 1024 * 1024
    MAX_TURN_SECONDS: float = 5.0


CHECKS = ("error", "warn", "off")
NAMES = frozenset(field.name for field in fields(Settings))


@lru_cache(maxsize=1)
def current() -> Settings:
    """Returns the merged settings, without unknown names, which a system check reports."""
    return Settings(**{name: value for name, value in given().items() if name in NAMES})


def given() -> Mapping[str, Any]:
    """Returns the project's `DURABLE_MONTY`; {} if it is no dict, which a check reports."""
    found = getattr(settings, "DURABLE_MONTY", {})
    return found if isinstance(found, dict) else {}


@receiver(setting_changed)
def _clear(*, setting: str, **_: object) -> None:
    if setting == "DURABLE_MONTY":
        current.cache_clear()
