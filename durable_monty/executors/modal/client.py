"""Modal's client, as the executor uses it: it spawns functions and waits for what they give.

Modal's library is asynchronous. All use of it is in one thread with an event loop; a method that
the worker calls waits for that thread.
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
_PATIENCE = 30.0
# Questions that wait for an output at a time: servers often allow no more than 100 requests on a
# connection, and jobs are started over the same one.
_PLACES = 50
# Seconds for which the id of a function is used without another look-up of its name.
_KEEP = 60.0


class ModalClient:
    """The functions of one app, and the calls that it waits for.

    The id of a job is the key of the call's row, a hyphen, and Modal's id of the function call.
    `ended(job_id, job)` is called once for each job that ends, in a thread of this object's own.
    `poll`: the longest time in seconds between two questions for a job.
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
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(started)),
            name="durable_monty-modal",
            daemon=True,
        )
        self._thread.start()
        self._loop = started.result()

    @property
    def waiting(self) -> int:
        """How many jobs it waits for."""
        return len(self._waiting)

    def spawn(self, pk: int, function: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Starts a job, waits for its end from now on, and returns its id."""
        return self._run(self._spawn(pk, function, args, kwargs))

    def check(self, job_id: str) -> JobStatus:
        """Returns how a job is doing, and waits for its end from now on.

        Raises `LookupError` if Modal does not know it.
        """
        if job_id in self._waiting:
            return {"status": "started"}
        return self._run(self._check(job_id))

    def cancel(self, job_id: str) -> None:
        self._run(self._cancel(job_id))

    def stop(self) -> None:
        """Ends the thread. What was spawned goes on."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_PATIENCE)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, _PATIENCE), self._loop)
        try:
            return future.result()
        except TimeoutError as exc:
            why = f"Modal has not answered for {_PATIENCE:.0f} seconds"
            raise ExecutorUnavailable("modal", why) from exc
        except UNREACHABLE as exc:
            raise unavailable(exc) from exc

    async def _serve(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        self._stopping, self._places = asyncio.Event(), asyncio.Semaphore(_PLACES)
        started.set_result(asyncio.get_running_loop())
        await self._stopping.wait()

    async def _spawn(
        self, pk: int, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> str:
        await self._sign_in()
        function, is_new = self._function(name)
        try:
            call = await function.spawn.aio(*args, **kwargs)
        except (errors.NotFoundError, errors.ConflictError) as exc:
            del self._functions[name]
            if not is_new:  # the app may have been stopped, and deployed again
                return await self._spawn(pk, name, args, kwargs)
            raise UnknownFunction(
                name,
                f"Modal says: {exc} Deploy it with 'modal deploy', or name another one in the "
                "option 'functions' of the executor.",
            ) from exc
        job_id = f"{pk}-{call.object_id}"
        self._wait_for(job_id)
        return job_id

    async def _sign_in(self) -> None:
        try:
            await modal.Client.from_env.aio()
        except errors.AuthError as exc:
            raise ImproperlyConfigured(
                "Modal's client has no token. Set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET where "
                "runworker runs, or run 'modal token new' there."
            ) from exc

    def _function(self, name: str) -> tuple[Any, bool]:
        known = self._functions.get(name)
        if known is not None and monotonic() - known[0] < _KEEP:
            return known[1], False
        function = modal.Function.from_name(self.app, name, environment_name=self.environment)
        self._functions[name] = monotonic(), function
        return function, True

    async def _check(self, job_id: str) -> JobStatus:
        await self._sign_in()
        job = await _ask(job_id, 0)
        if job["status"] == "started":
            self._wait_for(job_id)
        return job

    async def _cancel(self, job_id: str) -> None:
        if waiting := self._waiting.pop(job_id, None):
            waiting.cancel()
        await self._sign_in()
        with suppress(errors.NotFoundError):
            await _function_call(job_id).cancel.aio()

    def _wait_for(self, job_id: str) -> None:
        self._waiting[job_id] = asyncio.create_task(self._wait(job_id))

    async def _wait(self, job_id: str) -> None:
        """Waits for the end of a job. When nothing is learnt it gives up: `check` asks again."""
        job: JobStatus = {"status": "started"}
        try:
            while job["status"] == "started":
                async with self._places:
                    # With more jobs than places, the questions take turns.
                    share = _PLACES / max(_PLACES, len(self._waiting))
                    job = await _ask(job_id, self._poll * share)
        except (ExecutorUnavailable, LookupError):
            return
        finally:
            self._waiting.pop(job_id, None)
        self._ended(job_id, job)


async def _ask(job_id: str, seconds: float) -> JobStatus:
    """Waits for the end of a job, for at most so many seconds."""
    try:
        result = await _function_call(job_id).get.aio(timeout=seconds)
    except BaseException as exc:
        task = asyncio.current_task()
        if isinstance(exc, asyncio.CancelledError) and task and task.cancelling():
            raise
        return job_of(exc)
    return {"status": "finished", "result": result}


def _function_call(job_id: str) -> Any:
    return modal.FunctionCall.from_id(job_id.partition("-")[2])
