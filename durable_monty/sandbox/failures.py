"""What went wrong in a run, in words for whoever wrote the workflow."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic_monty import MontyRuntimeError, MontySyntaxError

from durable_monty.sandbox.forgotten import forgotten
from durable_monty.sandbox.journal import CallRequest, Failed, Workflow
from durable_monty.sandbox.values import NotAwaited

PRINTED_TOO_MUCH = Failed(
    "RuntimeError", "The workflow printed more than DURABLE_MONTY['MAX_LOG_BYTES'] allows."
)
TOO_MANY_CALLS = Failed(
    "RuntimeError", "The workflow made more calls than DURABLE_MONTY['MAX_CALLS'] allows."
)


def failure_of(exc: MontyRuntimeError | MontySyntaxError, log_bytes: int) -> Failed:
    """`log_bytes`: the limit that the run's log had."""
    if isinstance(exc, MontySyntaxError):
        return Failed("SyntaxError", str(exc), _traceback(exc))
    error, message = exc.exception(), str(exc.exception())
    if isinstance(error, MemoryError) and message.endswith(f"> {log_bytes} bytes"):
        return PRINTED_TOO_MUCH
    if message.startswith("suspension limit"):
        return Failed("RuntimeError", f"The workflow runs in circles: {message}.", _traceback(exc))
    limit = message.startswith(("memory limit exceeded", "turn time limit exceeded"))
    return Failed(type(error).__name__, message, _traceback(exc), limit=limit)


def never_awaited(calls: Iterable[CallRequest], workflow: Workflow) -> Failed | None:
    """Of a workflow that has completed, if it forgot to wait for one of its last turn's calls."""
    # An `await` of these would have suspended the turn, unless it raised before it could.
    made = [call for call in calls if call.kind != "clock"]
    places = forgotten(workflow.source, [call.position for call in made])
    for call in made:
        if call.position in places:
            return _not_awaited(_name_of(call, workflow), call, workflow)
    return None


def coroutine_left(exc: NotAwaited, calls: Iterable[CallRequest], workflow: Workflow) -> Failed:
    """Of an output that holds a coroutine."""
    return _not_awaited(coroutine_name(exc, calls, workflow), _call_of(exc, calls), workflow)


def coroutine_name(exc: NotAwaited, calls: Iterable[CallRequest], workflow: Workflow) -> str:
    """What the source calls the function that the coroutine is of."""
    call = _call_of(exc, calls)
    return (exc.name or "it") if call is None else _name_of(call, workflow)


def unknown_name(name: str, workflow: Workflow) -> str:
    if name in ("gather", "sleep"):
        return f"name {name!r} is not defined; write: from asyncio import {name}"
    known = ", ".join(sorted(workflow.functions)) or "none"
    return f"{name!r} is not a function that this workflow may call; it may call: {known}"


def _not_awaited(name: str, call: CallRequest | None, workflow: Workflow) -> Failed:
    place = "" if call is None else f", called on line {_line(call, workflow)},"
    return Failed(
        "RuntimeError", f"{name}(...){place} was never awaited. Write: await {name}(...)"
    )


def _call_of(exc: NotAwaited, calls: Iterable[CallRequest]) -> CallRequest | None:
    return next((call for call in calls if call.call_id == exc.call_id), None)


def _name_of(call: CallRequest, workflow: Workflow) -> str:
    names = (name for name, known in workflow.functions.items() if known == call.function)
    return next(names, call.function)


def _line(call: CallRequest, workflow: Workflow) -> int:
    return workflow.source.encode()[: call.position.start].count(b"\n") + 1


def _traceback(exc: MontyRuntimeError | MontySyntaxError) -> str:
    return exc.display().replace('"<python-input-0>"', '"workflow"')
