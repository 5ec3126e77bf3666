"""The executor that POSTs calls to URLs: docs/how-to/http-functions.md.

The class is imported when it is first used: `functions` needs `allowed_hosts` alone, where there
may be no httpcore.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durable_monty.executors.http.executor import HttpExecutor

__all__ = ["HttpExecutor"]


def __getattr__(name: str) -> Any:
    if name != "HttpExecutor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from durable_monty.executors.http.executor import HttpExecutor

    return HttpExecutor
