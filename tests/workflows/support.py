"""Runs closures: in the sandbox, and in plain Python."""

from __future__ import annotations
import __future__

import asyncio
import inspect
from datetime import UTC, datetime

from asgiref.sync import async_to_sync

from durable_monty import codec
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.sandbox import (
    ERROR_TYPE,
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
    processes=128,
)  # fmt: skip
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def run_closure(closure, inputs):
    """Returns the outcome of the closure in the sandbox: `Completed` or `Failed`."""
    encoded = codec.encode({"_inputs": inputs})
    workflow = Workflow(closure.source, dict(closure.functions), encoded, "seed")
    with Interpreter(workflow, LIMITS, lambda: NOW) as interpreter:
        calls = {}
        turn = interpreter.start()
        while isinstance(turn.outcome, Suspended):
            calls |= {call.call_id: call for call in turn.calls}
            answers = {call_id: _answer(calls[call_id]) for call_id in interpreter.pending}
            turn = interpreter.resume(answers)
    return turn.outcome


def output_of(closure, inputs):
    outcome = run_closure(closure, inputs)
    assert isinstance(outcome, Completed), outcome
    return codec.decode(outcome.output)


def run_plain(closure, inputs):
    """Runs the closure in plain Python, under the name of its file."""
    source = closure.source[: closure.source.rindex("\n")]
    flags = __future__.annotations.compiler_flag
    module = closure.file.removesuffix(".py").replace("/", ".")
    namespace = {"__name__": module, ERROR_TYPE: lambda error: type(error).__name__}
    for name, target in closure.functions.items():
        namespace[name] = _awaitable(FUNCTION_REGISTRY[target].func)
    exec(compile(source, closure.path, "exec", flags, dont_inherit=True), namespace)
    return asyncio.run(namespace[closure.entry](**inputs))


def _awaitable(func):
    async def call(*args, **kwargs):
        result = func(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return call


def _answer(call):
    if call.kind == "timer":
        return Settled(result="null")
    func = FUNCTION_REGISTRY[call.function].func
    run = async_to_sync(func) if inspect.iscoroutinefunction(func) else func
    try:
        value = run(*codec.decode(call.args), **codec.decode(call.kwargs))
    except Exception as exc:
        return Settled(None, type(exc).__name__, str(exc), nearest(type(exc)))
    return Settled(result=codec.encode(value))
