"""Sends the requests of the API with asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from durable_monty.client import requests
from durable_monty.client.answers import Event
from durable_monty.client.connection import broken, options_of, parts_of, require_httpx
from durable_monty.client.exchange import Broken, Pause, Response, error_of, exchange
from durable_monty.client.following import Following, FollowingList, output_of, waiting
from durable_monty.client.requests import Id, Request
from durable_monty.exceptions import ApiUnreachable

if TYPE_CHECKING:
    import httpx

P = ParamSpec("P")
T = TypeVar("T")


def _sent(
    build: Callable[P, Request[T]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """Returns a method that sends such a request and returns the answer."""

    @wraps(build)
    async def send(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._send(build(*args, **kwargs))

    return send


def _paged(
    build: Callable[P, Request[list[T]]],
) -> Callable[Concatenate[AsyncClient, P], AsyncIterator[T]]:
    """Returns a method that yields the rows of all pages. It requests each page when needed."""

    @wraps(build)
    async def send(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        request: Request[list[T]] | None = build(*args, **kwargs)
        while request is not None:
            rows, request = await self._send(requests.with_next(request))
            for row in rows:
                yield row

    return send


class AsyncClient:
    """Calls the HTTP API at `base_url`, for example "https://example.com/api".

    It has the arguments, methods and errors of `Client`. `options` go to `httpx.AsyncClient`.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        *,
        timeout: float = 30.0,
        retries: int = 3,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.base_url, self._retries = base_url, retries
        # httpx is imported here, so that the package can be imported without it.
        self._http: httpx.AsyncClient = require_httpx().AsyncClient(
            **options_of(key, timeout, headers or {}), **options
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    start = _sent(requests.start)
    check = _sent(requests.check)
    poll = _sent(requests.poll)
    list = _paged(requests.executions)
    calls = _paged(requests.calls)
    complete = _sent(requests.complete)
    fail = _sent(requests.fail)
    retry_call = _sent(requests.retry_call)
    cancel = _sent(requests.cancel)
    terminate = _sent(requests.terminate)
    pause = _sent(requests.pause)
    resume = _sent(requests.resume)
    resolve = _sent(requests.resolve)
    retry = _sent(requests.retry)
    fork = _sent(requests.fork)
    export = _sent(requests.export)
    functions = _sent(requests.functions)

    def events(self, execution_id: Id) -> AsyncIterator[Event]:
        """Yields the states of an execution until it ends. Lost connections are made again."""
        return self._follow(requests.execution_events(execution_id), Following())

    def list_events(self, **filters: Any) -> AsyncIterator[Event]:
        """Yields the newest 100 executions of a list and then every change among them.

        It ends when the key loses its permission. `filters` are those of `list`.
        """
        return self._follow(requests.list_events(**filters), FollowingList())

    async def wait(self, execution_id: Id, timeout: float = 60.0) -> Any:
        """Waits up to `timeout` seconds for the execution to end, and returns its output.

        Raises `WaitTimeout`, and `ExecutionNotCompleted` if the execution failed.
        """
        async for _ in self._follow(requests.execution_events(execution_id), waiting(timeout)):
            pass
        return output_of(await self.poll(execution_id), timeout)

    async def _send(self, request: Request[T]) -> T:
        steps = exchange(request, self._retries)
        step = next(steps)
        try:
            while True:
                outcome: Response | Broken | None = None
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                else:
                    try:
                        found = await self._http.request(**parts_of(self.base_url, step))
                        outcome = Response(found.status_code, found.headers, found.content)
                    except require_httpx().TransportError as exc:
                        outcome = broken(exc)
                step = steps.send(outcome)
        except StopIteration as done:
            answer: T = done.value
            return answer

    async def _follow(self, request: Request[Any], following: Following) -> AsyncIterator[Event]:
        while not (following.is_over or following.is_late):
            try:
                async for event in self._read_events(request, following):
                    yield event
            except require_httpx().TransportError as exc:
                # A deadline that has passed is reported by `output_of`, which knows the status.
                following.failures += 1
                if following.failures > self._retries and not following.is_late:
                    raise ApiUnreachable(request.path, broken(exc).why) from exc
            if not following.is_over:
                await asyncio.sleep(following.pause)

    async def _read_events(
        self, request: Request[Any], following: Following
    ) -> AsyncIterator[Event]:
        silence, parts = following.silence, parts_of(self.base_url, request)
        timeout = self._http.timeout.as_dict() | {"read": silence}
        async with self._http.stream(
            **parts, headers=following.headers, timeout=require_httpx().Timeout(**timeout)
        ) as found:
            # A refusal is JSON, not a stream of events.
            following.begins(found.status_code)
            if found.status_code >= 400:
                refused = Response(found.status_code, found.headers, await found.aread())
                following.refused(error_of(refused), self._retries)
                return
            async for line in found.aiter_lines():
                if (event := following.take(line)) is not None:
                    yield event
                if following.is_over or following.ends_before(silence):
                    return
