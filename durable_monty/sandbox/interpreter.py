"""Runs a workflow in the sandbox: starts or loads it, resumes it turn by turn, dumps it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from pydantic_monty import (
    CollectString,
    FunctionSnapshot,
    FutureSnapshot,
    MontyComplete,
    MontyCrashedError,
    MontyError,
    MontyRuntimeError,
    MontySession,
    MontySyntaxError,
    NameLookupSnapshot,
    SyncSnapshot,
)

from durable_monty import codec
from durable_monty.durations import LONGEST
from durable_monty.exceptions import HostFault, SnapshotUnusable, UnstorableValue
from durable_monty.sandbox import failures
from durable_monty.sandbox.clocks import CLOCKS, Clock, answer_clock
from durable_monty.sandbox.error_types import ERROR_TYPE, ErrorTypes
from durable_monty.sandbox.open_calls import OpenCalls
from durable_monty.sandbox.pool import checkout
from durable_monty.sandbox.remedies import refusal_of, unknown_function
from durable_monty.sandbox.types import (
    CallRequest,
    Completed,
    Failed,
    Limits,
    Position,
    Settled,
    Suspended,
    Turn,
    Workflow,
)
from durable_monty.sandbox.unawaited import mistake_in
from durable_monty.sandbox.values import NotAwaited, to_sandbox

SLEEP = "asyncio.sleep"

Outcome = Suspended | Completed | Failed
_QUESTIONS = (FunctionSnapshot, NameLookupSnapshot)


class Interpreter:
    """A run of a workflow. It serves one thread at a time; `close()` it, or use `with`.

    `clock` returns the aware time that the workflow reads. Every method that talks to the sandbox
    raises `HostFault` when its process crashed; the interpreter is of no use after that.
    """

    def __init__(self, workflow: Workflow, limits: Limits, clock: Clock) -> None:
        self.workflow, self.limits, self.clock = workflow, limits, clock
        self._printed = CollectString(max_bytes=limits.log_bytes)
        self._log_start = 0
        self._log_left = limits.log_bytes
        self._calls: list[CallRequest] = []
        self.unrecorded: list[CallRequest] = []  # see `replay`
        self._made = self._refused = self._unknown = 0
        self._paused: FutureSnapshot | None = None
        self.open_calls = OpenCalls(workflow)
        self.error_types = ErrorTypes()
        self._worked = 0.0
        self._checkout = checkout(limits, seed=workflow.seed)
        self._session: MontySession = self._checkout.enter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._checkout.leave(self._worked)

    @property
    def cpu_seconds(self) -> float | None:
        """The CPU time that its process has used in all; None where that cannot be known."""
        return self._checkout.cpu_seconds

    def give_way(self) -> None:
        """Lowers the priority of its process; another thread calls it when a turn takes long."""
        self._checkout.give_way()

    def start(self) -> Turn:
        """Runs the first turn. A source with a call that nothing can await fails before that."""
        mistake = mistake_in(self.workflow)
        return self.begin() if mistake is None else Turn((), "", failures.failed_by(mistake))

    def begin(self) -> Turn:
        """Runs the first turn without looking at the source."""
        inputs = codec.decode_for_sandbox(self.workflow.variables)
        return self._turn(
            lambda: self._session.feed_start(
                self.workflow.source, inputs=inputs, print_callback=self._printed
            )
        )

    def load(self, dump: bytes) -> None:
        """Loads a dump, instead of `start`. Raises `SnapshotUnusable`."""
        try:
            snapshot = self._session.load_snapshot(dump, print_callback=self._printed)
        except MontyError as exc:
            raise SnapshotUnusable(str(exc)) from exc
        if not isinstance(snapshot, FutureSnapshot):
            raise SnapshotUnusable("it was not taken between two turns")
        self._paused = snapshot

    def resume(self, answers: Mapping[int, Settled]) -> Turn:
        """Delivers these answers in `call_id` order, and runs the next turn."""
        if self._paused is None:
            raise HostFault("the interpreter is not paused")
        paused, self._paused = self._paused, None
        self.open_calls.answer(paused, frozenset(answers))
        self.error_types.note(answers.values())
        batch = {call_id: to_sandbox(answers[call_id]) for call_id in sorted(answers)}
        return self._turn(lambda: paused.resume(batch))

    @property
    def pending(self) -> frozenset[int]:
        """The ids of the calls that it waits for."""
        return frozenset(() if self._paused is None else self._paused.pending_call_ids)

    def dump(self) -> bytes:
        """Returns the bytes for `load`. Raises `HostFault`: then the journal alone must do."""
        if self._paused is None:
            raise HostFault("the interpreter is not paused")
        try:
            return self._paused.dump()
        except MontyError as exc:
            raise HostFault(f"the sandbox could not be dumped: {exc}") from exc

    # A replay overrides the next three.

    def admit(self, call: CallRequest) -> None:
        """Counts a call that the workflow makes. Raises to stop the turn."""
        self._made += 1
        if self._made > self.limits.calls:
            raise _Stop(failures.TOO_MANY_CALLS)

    def read_clock(self, snapshot: FunctionSnapshot) -> str:
        """Returns the answer to a clock call, as JSON text."""
        return codec.encode(answer_clock(snapshot, self.clock()))

    def value_limit(self, call_id: int) -> int | None:
        """Returns how many bytes the arguments of a call may have."""
        return self.limits.value_bytes

    def _turn(self, begin: Callable[[], SyncSnapshot]) -> Turn:
        self._calls, self._refused, self._unknown = [], 0, 0
        outcome: Outcome
        began = time.monotonic()
        try:
            snapshot = begin()
            while isinstance(snapshot, _QUESTIONS):
                snapshot = self._answer(snapshot)
            if isinstance(snapshot, FutureSnapshot):
                self._paused, outcome = snapshot, Suspended(_position(snapshot))
            else:
                outcome = self._complete(snapshot)
        except _Stop as stop:
            outcome = stop.outcome
        except MontyCrashedError as exc:
            raise HostFault(f"the sandbox process failed: {exc}") from exc
        except (MontyRuntimeError, MontySyntaxError) as exc:
            outcome = failures.failure_of(exc, self.limits.log_bytes)
        self._worked += time.monotonic() - began
        printed = self._printed.output
        log, self._log_start = printed[self._log_start :], len(printed)
        self._log_left -= len(log.encode())
        if self._log_left < 0:
            # Here, and not by the collector alone: that may have room for what a replay prints.
            log, outcome = "", failures.PRINTED_TOO_MUCH
        return Turn(tuple(self._calls), log, outcome)

    def _answer(self, snapshot: FunctionSnapshot | NameLookupSnapshot) -> SyncSnapshot:
        """Answers one question of the sandbox, and runs it up to the next."""
        functions = self.workflow.functions
        if isinstance(snapshot, NameLookupSnapshot):
            name = snapshot.variable_name
            if snapshot.object_id is not None or (name not in functions and name != ERROR_TYPE):
                return snapshot.resume()

            def function() -> None:
                """Stands for a function in the sandbox; calling it there is an outside call."""

            function.__name__ = function.__qualname__ = name
            return snapshot.resume(value=function)
        name = snapshot.function_name
        if snapshot.is_os_function:
            return self._answer_system(snapshot)
        target = functions.get(name)
        if target is not None and snapshot.object_id is None:
            return self._call(snapshot, target)
        if name == ERROR_TYPE:
            return snapshot.resume(self.error_types.answer(snapshot))
        self._unknown += 1
        # To look for a name like it, for each of tens of thousands, takes the host a minute.
        known = functions if self._unknown <= failures.MOST_REFUSED else None
        message = unknown_function(name, known)
        return snapshot.resume({"exc_type": "NameError", "message": message})

    def _call(self, snapshot: FunctionSnapshot, target: str) -> SyncSnapshot:
        name, limit = snapshot.function_name, self.value_limit(snapshot.call_id)
        try:
            args = self.open_calls.text(list(snapshot.args), "args", limit)
            given = snapshot.kwargs
            kwargs = self.open_calls.text(given, "kwargs", limit) if given else "{}"
        except (UnstorableValue, TypeError) as exc:  # TypeError: a set of sandbox instances
            self._refused += 1
            if self._refused > failures.MOST_REFUSED:
                raise _Stop(failures.TOO_MANY_REFUSED) from exc
            return snapshot.resume({"exc_type": "TypeError", "message": f"{name}(): {exc}"})
        except NotAwaited as exc:
            coroutine = failures.coroutine_name(exc, self.workflow)
            message = f"{name}() was given a coroutine: await {coroutine}(...) first"
            return snapshot.resume({"exc_type": "TypeError", "message": message})
        self._record(
            CallRequest(snapshot.call_id, "function", target, args, kwargs, _position(snapshot))
        )
        return snapshot.resume({"future": ...})

    def _answer_system(self, snapshot: FunctionSnapshot) -> SyncSnapshot:
        """Answers a call of the sandbox's own: a sleep, a clock, an import."""
        name, call_id, place = snapshot.function_name, snapshot.call_id, _position(snapshot)
        if name == SLEEP:
            delay = max(0.0, float(snapshot.args[0]))
            if not math.isfinite(delay) or delay > LONGEST:
                message = "asyncio.sleep() takes at most 100 years"
                return snapshot.resume({"exc_type": "OverflowError", "message": message})
            args = codec.encode([delay])
            self._record(CallRequest(call_id, "timer", SLEEP, args, "{}", place, delay=delay))
            return snapshot.resume({"future": ...})
        if name in CLOCKS:
            result = self.read_clock(snapshot)
            self._record(CallRequest(call_id, "clock", name, "[]", "{}", place, result=result))
            return snapshot.resume({"return_value": codec.decode_for_sandbox(result)})
        refusal = refusal_of(name, snapshot.args)
        return snapshot.resume(refusal) if refusal else snapshot.resume_not_handled()

    def _record(self, call: CallRequest) -> None:
        self.admit(call)
        self._calls.append(call)
        self.open_calls.add(call)

    def _complete(self, snapshot: MontyComplete) -> Completed | Failed:
        try:
            output = self.open_calls.text(snapshot.output, "output", self.limits.value_bytes)
        except NotAwaited as exc:
            return failures.object_left(exc, self.workflow)
        except (UnstorableValue, TypeError) as exc:
            return Failed("TypeError", f"The output cannot be stored: {exc}")
        failed = failures.never_awaited(self.open_calls.known.values(), self.workflow)
        return failed or Completed(output, self.open_calls.unknown)


class _Stop(Exception):
    def __init__(self, outcome: Failed) -> None:
        self.outcome = outcome
        super().__init__()


def _position(snapshot: FunctionSnapshot | FutureSnapshot) -> Position:
    return Position(snapshot.position.start, snapshot.position.end)
