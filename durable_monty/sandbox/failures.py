"""Words the failures of a run for whoever wrote the workflow."""

from __future__ import annotations

from collections.abc import Collection

from pydantic_monty import MontyRuntimeError, MontySyntaxError

from durable_monty.sandbox.remedies import with_remedy
from durable_monty.sandbox.types import CallRequest, Failed, Workflow
from durable_monty.sandbox.unawaited import UnawaitedCall, not_given_up
from durable_monty.sandbox.values import NotAwaited

PRINTED_TOO_MUCH = Failed(
    "RuntimeError", "The workflow printed more than DURABLE_MONTY['MAX_LOG_BYTES'] allows."
)
TOO_MANY_CALLS = Failed(
    "RuntimeError", "The workflow made more calls than DURABLE_MONTY['MAX_CALLS'] allows."
)
# The host may need a quarter of a second to see that the arguments of one call cannot be stored.
MOST_REFUSED = 20
TOO_MANY_REFUSED = Failed(
    "RuntimeError",
    f"The workflow made more than {MOST_REFUSED} calls in one turn whose arguments cannot be "
    "stored.",
)


def failure_of(exc: MontyRuntimeError | MontySyntaxError, log_bytes: int) -> Failed:
    """Returns the failure for an exception of the sandbox; `log_bytes` was the run's limit."""
    if isinstance(exc, MontySyntaxError):
        return Failed("SyntaxError", with_remedy(str(exc)), _traceback(exc))
    error, message = exc.exception(), str(exc.exception())
    if isinstance(error, MemoryError) and message.endswith(f"> {log_bytes} bytes"):
        return PRINTED_TOO_MUCH
    if message.startswith("suspension limit"):
        return Failed("RuntimeError", f"The workflow runs in circles: {message}.", _traceback(exc))
    limit = message.startswith(("memory limit exceeded", "turn time limit exceeded"))
    return Failed(type(error).__name__, with_remedy(message), _traceback(exc), limit=limit)


def failed_by(mistake: UnawaitedCall) -> Failed:
    """Returns the failure for a call that nothing awaits."""
    line = mistake.used_on or mistake.line
    return Failed("RuntimeError", str(mistake), f'  File "workflow", line {line}')


def never_awaited(calls: Collection[CallRequest], workflow: Workflow) -> Failed | None:
    """Returns the failure for the first of `calls` that nobody awaited, if there is one.

    `calls` have no answer, and their workflow has completed.
    """
    if not calls:
        return None
    positions = [call.position for call in calls]
    places = not_given_up(workflow.source, workflow.functions, positions)
    lost = min((call for call in calls if call.position in places), default=None)
    return None if lost is None else _not_awaited(lost, workflow)


def object_left(exc: NotAwaited, workflow: Workflow) -> Failed:
    """Returns the failure for an output that holds a coroutine."""
    if exc.call is not None:
        return _not_awaited(exc.call, workflow)
    message = f"{exc.name}(...) was never awaited. Write: await {exc.name}(...)"
    return Failed("RuntimeError", message)


def coroutine_name(exc: NotAwaited, workflow: Workflow) -> str:
    """Returns the source's name of the function that the coroutine is of."""
    return exc.name if exc.call is None else _name_of(exc.call, workflow)


def _not_awaited(call: CallRequest, workflow: Workflow) -> Failed:
    before = workflow.source.encode()[: call.position.start]
    return failed_by(UnawaitedCall(_name_of(call, workflow), before.count(b"\n") + 1, 0))


def _name_of(call: CallRequest, workflow: Workflow) -> str:
    names = (name for name, known in workflow.functions.items() if known == call.function)
    return next(names, call.function)


def _traceback(exc: MontyRuntimeError | MontySyntaxError) -> str:
    return exc.display().replace('"<python-input-0>"', '"workflow"')
