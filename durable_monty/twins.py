"""Makes async twins of methods that use the database."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from asgiref.sync import sync_to_async
from django.db import Error, connections


class UsesDatabase(Protocol):
    @property
    def using(self) -> str: ...


S = TypeVar("S", bound=UsesDatabase)
P = ParamSpec("P")
R = TypeVar("R")


def twin(
    method: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Returns the async twin of a method.

    It runs where Django's own async ORM runs: in the thread, and on the connection, of the request
    or of the script.
    """

    def run(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except Error:
            # Outside of a request nobody else gives up a connection that the server has closed.
            connections[self.using].close_if_unusable_or_obsolete()
            raise

    @wraps(method)
    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await sync_to_async(run)(self, *args, **kwargs)

    return call
