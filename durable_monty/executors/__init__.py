"""Executors run functions. Names are imported when they are first used, so that `signing` needs no
Django."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durable_monty.executors.base import Executor, JobStatus
    from durable_monty.executors.local import LocalExecutor

__all__ = ["Executor", "JobStatus", "LocalExecutor"]

_PLACES = {"Executor": "base", "JobStatus": "base", "LocalExecutor": "local"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
