"""Spawns functions at Modal and waits for their results.

Modal's library is asynchronous. One thread with an event loop makes all use of it. Methods that
the worker calls wait for that thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar

import modal
from django.core.exceptions import ImproperlyConfigured
from modal import exception as errors

from durable_monty.exceptions import ExecutorUnavailable, UnknownFunction
from durable_monty.executors.base import JobStatus
from durable_monty.executors.modal.errors import UNREACHABLE, job_of, unavailable

T = TypeVar("T")

# Seconds that an answer of Modal may take.
_TIMEOUT = 30.0
# Requests that wait for a result at a time. Servers often allow no more than 100 requests on a
# connection, and jobs are spawned over the same one.
_MAX_WAITING = 50
# Seconds for which the id of a function is used without another look-up of its name.
_KEEP = 60.0


class ModalClient:
    """The functions of an app, and the calls whose results it waits for.

    The id of a job is the key of the call's row, a hyphen, and Modal's id of the function call.
    `ended(job_id, job)` is called once for each job that ends, in this object's thread. `poll` is
    the longest time in seconds that one request waits for a result.
    """

    def __init__(
        self,
        app: str,
        environment: str | None,
        poll: float,
        ended: Callable[[str, JobStatus], None],
    ) -> None:
        self.app, self.environment = app, environment
        self._poll, self._ended = poll, ended
        self._functions: dict[str, tuple[float, Any]] = {}
        self._waiting: dict[str, asyncio.Task[None]] = {}
        started: Future[asyncio.AbstractEventLoop] = Future()

        async def serve() -> None:
            self._stopping, self._turns = asyncio.Event(), asyncio.Semaphore(_MAX_WAITING)
            started.set_result(asyncio.get_running_loop())
            await self._stopping.wait()

        self._thread = threading.Thread(
            target=lambda: asyncio.run(serve()),
            name="durable_monty-modal",
            daemon=True,
        )
        self._thread.start()
        self._loop = started.result()

    @property
    def waiting(self) -> int:
        """The number of jobs whose results it waits for."""
        return len(self._waiting)

    def spawn(self, pk: int, function: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Starts a job and returns its id. From now on the client waits for its result."""
        return self._run(self._spawn(pk, function, args, kwargs))

    def check(self, job_id: str) -> JobStatus:
        """Returns the status of a job. From now on the client waits for its result.

        Raises LookupError if Modal does not know the job.
        """

        async def check() -> JobStatus:
            await _sign_in()
            job = await _fetch(job_id, 0)
            if job["status"] == "started":
                self._wait_for(job_id)
            return job

        return {"status": "started"} if job_id in self._waiting else self._run(check())

    def cancel(self, job_id: str) -> None:
        async def cancel() -> None:
            if waiting := self._waiting.pop(job_id, None):
                waiting.cancel()
            await _sign_in()
            with suppress(errors.NotFoundError):
                await _function_call(job_id).cancel.aio()

        self._run(cancel())

    def stop(self) -> None:
        """Ends the thread. Spawned calls go on."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_TIMEOUT)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, _TIMEOUT), self._loop)
        try:
            return future.result()
        except TimeoutError as exc:
            why = f"Modal has not answered for {_TIMEOUT:.0f} seconds"
            raise ExecutorUnavailable("modal", why) from exc
        except UNREACHABLE as exc:
            raise unavailable(exc) from exc

    async def _spawn(
        self, pk: int, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> str:
        await _sign_in()
        looked_up, function = self._functions.get(name, (0.0, None))
        is_new = function is None or monotonic() - looked_up >= _KEEP
        if is_new:
            function = modal.Function.from_name(self.app, name, environment_name=self.environment)
            self._functions[name] = monotonic(), function
        try:
            call = await function.spawn.aio(*args, **kwargs)
        except (errors.NotFoundError, errors.ConflictError) as exc:
            del self._functions[name]
            if not is_new:  # the app may have been stopped and deployed again since the look-up
                return await self._spawn(pk, name, args, kwargs)
            raise UnknownFunction(
                name,
                f"Modal says: {exc} Deploy it with 'modal deploy', or name another one in the "
                "option 'functions' of the executor.",
            ) from exc
        job_id = f"{pk}-{call.object_id}"
        self._wait_for(job_id)
        return job_id

    def _wait_for(self, job_id: str) -> None:
        async def wait() -> None:
            job: JobStatus = {"status": "started"}
            try:
                while job["status"] == "started":
                    async with self._turns:
                        # With more jobs than requests, each request waits for less, to make room.
                        share = _MAX_WAITING / max(_MAX_WAITING, len(self._waiting))
                        job = await _fetch(job_id, self._poll * share)
            except (ExecutorUnavailable, LookupError):
                return  # `check` starts it again
            finally:
                self._waiting.pop(job_id, None)
            self._ended(job_id, job)

        self._waiting[job_id] = asyncio.create_task(wait())


async def _sign_in() -> None:
    try:
        await modal.Client.from_env.aio()
    except errors.AuthError as exc:
        raise ImproperlyConfigured(
            "Modal's client has no token. Set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET where "
            "runworker runs, or run 'modal token new' there."
        ) from exc


async def _fetch(job_id: str, seconds: float) -> JobStatus:
    """Waits for the result of a job, for at most `seconds`."""
    try:
        result = await _function_call(job_id).get.aio(timeout=seconds)
    except BaseException as exc:
        # A function may raise CancelledError too. It counts if nobody has cancelled this task.
        task = asyncio.current_task()
        if isinstance(exc, asyncio.CancelledError) and task and task.cancelling():
            raise
        return job_of(exc)
    return {"status": "finished", "result": result}


def _function_call(job_id: str) -> Any:
    return modal.FunctionCall.from_id(job_id.partition("-")[2])
