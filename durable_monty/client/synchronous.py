"""Sends the requests of the API, and waits for each response."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
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


def _sent(build: Callable[P, Request[T]]) -> Callable[Concatenate[Client, P], T]:
    """Returns a method that sends such a request and returns the answer."""

    @wraps(build)
    def send(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._send(build(*args, **kwargs))

    return send


def _paged(
    build: Callable[P, Request[list[T]]],
) -> Callable[Concatenate[Client, P], Iterator[T]]:
    """Returns a method that yields the rows of all pages. It requests each page when needed."""

    @wraps(build)
    def send(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        request: Request[list[T]] | None = build(*args, **kwargs)
        while request is not None:
            rows, request = self._send(requests.with_next(request))
            yield from rows

    return send


class Client:
    """Calls the HTTP API at `base_url`, for example "https://example.com/api".

    `key` is the secret of an API key, and `timeout` the seconds for each step of a request.
    `options` (`verify`, `transport`, `proxy`, ...) go to `httpx.Client`.

    A request is sent again up to `retries` times, with growing pauses, if the connection could not
    be made or the server asks for it. If the connection broke, or the server is not available,
    only requests that have the same effect when they are sent twice are sent again.

    Methods raise the exception of `durable_monty.exceptions` that the server names, with the
    attributes `http_status` and `code`. They raise `RequestRefused` for other errors and
    `ApiUnreachable` without a response.
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
        self._http: httpx.Client = require_httpx().Client(
            **options_of(key, timeout, headers or {}), **options
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

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

    def events(self, execution_id: Id) -> Iterator[Event]:
        """Yields the states of an execution until it ends. Lost connections are made again."""
        return self._follow(requests.execution_events(execution_id), Following())

    def list_events(self, **filters: Any) -> Iterator[Event]:
        """Yields the newest 100 executions of a list and then every change among them.

        It ends when the key loses its permission. `filters` are those of `list`.
        """
        return self._follow(requests.list_events(**filters), FollowingList())

    def wait(self, execution_id: Id, timeout: float = 60.0) -> Any:
        """Waits up to `timeout` seconds for the execution to end, and returns its output.

        Raises `WaitTimeout`, and `ExecutionNotCompleted` if the execution failed.
        """
        for _ in self._follow(requests.execution_events(execution_id), waiting(timeout)):
            pass
        return output_of(self.poll(execution_id), timeout)

    def _send(self, request: Request[T]) -> T:
        steps = exchange(request, self._retries)
        step = next(steps)
        try:
            while True:
                outcome: Response | Broken | None = None
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                else:
                    try:
                        found = self._http.request(**parts_of(self.base_url, step))
                        outcome = Response(found.status_code, found.headers, found.content)
                    except require_httpx().TransportError as exc:
                        outcome = broken(exc)
                step = steps.send(outcome)
        except StopIteration as done:
            answer: T = done.value
            return answer

    def _follow(self, request: Request[Any], following: Following) -> Iterator[Event]:
        while not (following.is_over or following.is_late):
            try:
                yield from self._read_events(request, following)
            except require_httpx().TransportError as exc:
                # A deadline that has passed is reported by `output_of`, which knows the status.
                following.failures += 1
                if following.failures > self._retries and not following.is_late:
                    raise ApiUnreachable(request.path, broken(exc).why) from exc
            if not following.is_over:
                time.sleep(following.pause)

    def _read_events(self, request: Request[Any], following: Following) -> Iterator[Event]:
        silence, parts = following.silence, parts_of(self.base_url, request)
        timeout = self._http.timeout.as_dict() | {"read": silence}
        with self._http.stream(
            **parts, headers=following.headers, timeout=require_httpx().Timeout(**timeout)
        ) as found:
            # A refusal is JSON, not a stream of events.
            following.begins(found.status_code)
            if found.status_code >= 400:
                refused = Response(found.status_code, found.headers, found.read())
                following.refused(error_of(refused), self._retries)
                return
            for line in found.iter_lines():
                if (event := following.take(line)) is not None:
                    yield event
                if following.is_over or following.ends_before(silence):
                    return
