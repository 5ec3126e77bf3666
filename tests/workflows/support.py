"""Runs closures in the real sandbox, with answers of their functions."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime

from asgiref.sync import async_to_sync

from durable_monty import codec
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.sandbox import (
    Completed,
    Interpreter,
    Limits,
    Settled,
    Suspended,
    Workflow,
    nearest,
)

LIMITS = Limits(
    memory=64 * 1024 * 1024, turn_seconds=5, calls=1_000, log_bytes=10_000, value_bytes=100_000,
    processes=2,
)  # fmt: skip


def run_closure(closure, inputs):
    """Returns the outcome of the closure in the sandbox: `Completed` or `Failed`."""
    workflow = Workflow(
        closure.source, dict(closure.functions), codec.encode({"_inputs": inputs}), "seed"
    )
    now = datetime(2026, 1, 2, tzinfo=UTC)
    with Interpreter(workflow, LIMITS, lambda: now) as interpreter:
        waiting = {}
        turn = interpreter.start()
        while isinstance(turn.outcome, Suspended):
            calls = {call.call_id: call for call in turn.calls}
            waiting |= calls
            answers = {each: _answer(waiting[each]) for each in interpreter.pending}
            turn = interpreter.resume(answers)
    return turn.outcome


def output_of(closure, inputs):
    outcome = run_closure(closure, inputs)
    assert isinstance(outcome, Completed), outcome
    return codec.decode(outcome.output)


def _answer(call):
    if call.kind == "timer":
        return Settled(result="null")
    func = FUNCTION_REGISTRY[call.function].func
    run = async_to_sync(func) if inspect.iscoroutinefunction(func) else func
    try:
        value = run(*codec.decode(call.args), **codec.decode(call.kwargs))
    except Exception as exc:
        return Settled(
            error_type=type(exc).__name__, error_message=str(exc), raised_as=nearest(type(exc))
        )
    return Settled(result=codec.encode(value))
