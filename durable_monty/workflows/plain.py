"""Runs a workflow in plain Python, with the source that would run in the sandbox."""

from __future__ import annotations
import __future__

import ast
import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import lru_cache, wraps
from types import CodeType
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.sandbox import ERROR_TYPE

if TYPE_CHECKING:
    from durable_monty.workflows.workflow import Workflow

# Annotations may use names that do not come along.
_FLAGS = __future__.annotations.compiler_flag


def run_plain(
    workflow: Workflow[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Coroutine[Any, Any, Any]:
    """Returns the coroutine of a run. Raises `WrongWorkflow`."""
    closure = workflow.closure
    module = workflow.func.__module__
    # Each run has the module-level names to itself, as in the sandbox.
    namespace: dict[str, Any] = {"__name__": module, "__file__": closure.path}
    namespace[ERROR_TYPE] = lambda error: type(error).__name__
    for name, target in closure.functions.items():
        namespace[name] = _awaitable(module, name, target)
    exec(_compiled(closure.source, closure.path), namespace)  # noqa: S102  (the module's own code)
    coroutine: Coroutine[Any, Any, Any] = namespace[closure.entry](*args, **kwargs)
    return coroutine


def _awaitable(module: str, name: str, target: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Returns an async function that calls what the module has under `name` at that moment."""
    registered = FUNCTION_REGISTRY[target]

    @wraps(registered.func)
    async def call(*args: Any, **kwargs: Any) -> Any:
        found = getattr(sys.modules.get(module), name, registered.func)
        func = registered.current if found is registered.func else found
        if inspect.iscoroutinefunction(func):
            return await func(*args, **kwargs)
        # In Django's thread for sync code, where a test's transaction is.
        result = await sync_to_async(func)(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return call


@lru_cache(maxsize=256)
def _compiled(source: str, path: str) -> CodeType:
    """Returns the code of a closure without its last line, under its real file name."""
    tree = ast.parse(source[: source.rindex("\n")], path)
    code: CodeType = compile(tree, path, "exec", _FLAGS, dont_inherit=True)
    return code
