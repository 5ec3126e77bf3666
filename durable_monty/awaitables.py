"""Gives registered functions the type that they have in workflows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, overload

from asgiref.sync import sync_to_async

P = ParamSpec("P")
R = TypeVar("R")

_MARK = "_durable_monty_function"


@overload
def awaitable(
    func: Callable[P, Coroutine[Any, Any, R]], /
) -> Callable[P, Coroutine[Any, Any, R]]: ...
@overload
def awaitable(func: Callable[P, R], /) -> Callable[P, Coroutine[Any, Any, R]]: ...
def awaitable(func: Callable[..., Any], /) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Returns a registered function as workflows call it, so that type checkers accept `await`.

    In a workflow its call is a call of the registered function. Elsewhere it runs the function, a
    sync one in Django's thread for sync code.
    """

    @wraps(func)
    async def call(*args: Any, **kwargs: Any) -> Any:
        run = func if inspect.iscoroutinefunction(func) else sync_to_async(func)
        return await run(*args, **kwargs)

    vars(call)[_MARK] = func
    return call


def awaited_function(value: Any) -> Any:
    """Returns the function that `awaitable` was given; any other value is returned as it is."""
    # Only of a function: an attribute of a mock or of a lazy object may be anything.
    return vars(value).get(_MARK, value) if isinstance(value, FunctionType) else value
