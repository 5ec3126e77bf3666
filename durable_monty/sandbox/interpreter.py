"""One sandboxed run: started or loaded, resumed turn by turn, dumped between turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

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
from durable_monty.exceptions import HostFault, SnapshotUnusable, UnstorableValue
from durable_monty.sandbox.forgotten import forgotten
from durable_monty.sandbox.journal import (
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
from durable_monty.sandbox.pool import pool
from durable_monty.sandbox.values import NotAwaited, to_sandbox, to_text

SLEEP = "asyncio.sleep"
_CLOCKS = ("datetime.now", "date.today", "time.time")
_MAX_SLEEP = 100 * 365 * 86_400.0
# Beside its calls, a turn may look up names and be refused; the rest is a runaway loop.
_SPARE_SUSPENSIONS = 10_000
# A stopped or starved sandbox process is killed this long after its own limit.
_REQUEST_GRACE = 10.0

Clock = Callable[[], datetime]
Outcome = Suspended | Completed | Failed


class Interpreter:
    """A run between two turns. Not for two threads at once; `close()` it, or use `with`.

    `clock` gives the aware time that the workflow reads. Every method that talks to the sandbox
    raises `HostFault` when its process crashed; the interpreter is of no use after that.
    """

    def __init__(self, workflow: Workflow, limits: Limits, clock: Clock) -> None:
        self.workflow, self.limits, self.clock = workflow, limits, clock
        self._printed = CollectString(max_bytes=limits.log_bytes)
        self._log_start = 0
        self._log_left = limits.log_bytes
        self._calls: list[CallRequest] = []
        self.unrecorded: list[CallRequest] = []  # see `replay`
        self._made = 0
        self._paused: FutureSnapshot | None = None
        self._checkout = pool(limits.processes, limits.turn_seconds + _REQUEST_GRACE).checkout(
            limits={
                "max_memory": limits.memory,
                "max_turn_duration_secs": limits.turn_seconds,
                "max_suspensions": 2 * limits.calls + _SPARE_SUSPENSIONS,
            },
            os_policy={
                "sleep": "call_host",
                "datetime": "call_host",
                "random_start": {"seed": workflow.seed},
            },
        )
        self._session: MontySession = self._checkout.__enter__()

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
        self._checkout.__exit__(None, None, None)

    def start(self) -> Turn:
        """The first turn."""
        inputs = codec.decode_for_sandbox(self.workflow.inputs)
        return self._turn(
            lambda: self._session.feed_start(
                self.workflow.source, inputs=inputs, print_callback=self._printed
            )
        )

    def load(self, dump: bytes) -> None:
        """Takes the place of `start`. Raises `SnapshotUnusable`."""
        try:
            snapshot = self._session.load_snapshot(dump, print_callback=self._printed)
        except MontyError as exc:
            raise SnapshotUnusable(str(exc)) from exc
        if not isinstance(snapshot, FutureSnapshot):
            raise SnapshotUnusable("it was not taken between two turns")
        self._paused = snapshot

    def resume(self, answers: Mapping[int, Settled]) -> Turn:
        """The next turn: delivers these answers, in `call_id` order."""
        if self._paused is None:
            raise HostFault("the interpreter is not paused")
        paused, self._paused = self._paused, None
        batch = {call_id: to_sandbox(answers[call_id]) for call_id in sorted(answers)}
        return self._turn(lambda: paused.resume(batch))

    @property
    def pending(self) -> frozenset[int]:
        """The calls that it waits for, by their ids."""
        return frozenset(() if self._paused is None else self._paused.pending_call_ids)

    def dump(self) -> bytes:
        """The bytes for `load`. Raises `HostFault`: then the journal alone must do."""
        if self._paused is None:
            raise HostFault("the interpreter is not paused")
        try:
            return self._paused.dump()
        except MontyError as exc:
            raise HostFault(f"the sandbox could not be dumped: {exc}") from exc

    # What a replay does otherwise:

    def admit(self, call: CallRequest) -> None:
        """Called with each call that the workflow makes. Raises to stop the turn."""
        self._made += 1
        if self._made > self.limits.calls:
            raise _Stop(
                Failed(
                    "RuntimeError",
                    "The workflow made more calls than DURABLE_MONTY['MAX_CALLS'] allows.",
                )
            )

    def read_clock(self, snapshot: FunctionSnapshot) -> str:
        """The answer to a clock call, as JSON text."""
        return codec.encode(_clock_value(snapshot, self.clock()))

    def value_limit(self, call_id: int) -> int | None:
        """The size limit of the arguments of this call."""
        return self.limits.value_bytes

    # The turn:

    def _turn(self, begin: Callable[[], SyncSnapshot]) -> Turn:
        self._calls = []
        outcome: Outcome
        try:
            outcome = self._drive(begin)
        except _Stop as stop:
            outcome = stop.outcome
        except MontyCrashedError as exc:
            raise HostFault(f"the sandbox process failed: {exc}") from exc
        except MontySyntaxError as exc:
            outcome = Failed("SyntaxError", str(exc), _traceback(exc))
        except MontyRuntimeError as exc:
            outcome = self._failure(exc)
        return Turn(tuple(self._calls), *self._take_log(outcome))

    def _take_log(self, outcome: Outcome) -> tuple[str, Outcome]:
        printed = self._printed.output
        log, self._log_start = printed[self._log_start :], len(printed)
        self._log_left -= len(log.encode())
        if self._log_left < 0:
            # Here, and not by the collector alone: that may have room for what a replay prints.
            return "", self._printed_too_much()
        return log, outcome

    def _drive(self, begin: Callable[[], SyncSnapshot]) -> Outcome:
        snapshot = begin()
        while True:
            match snapshot:
                case FunctionSnapshot():
                    snapshot = self._answer(snapshot)
                case NameLookupSnapshot():
                    snapshot = self._look_up(snapshot)
                case FutureSnapshot():
                    self._paused = snapshot
                    return Suspended(_position(snapshot))
                case MontyComplete():
                    return self._complete(snapshot)

    def _answer(self, snapshot: FunctionSnapshot) -> SyncSnapshot:
        name = snapshot.function_name
        if not snapshot.is_os_function:
            target = self.workflow.functions.get(name)
            if target is None or snapshot.object_id is not None:
                return snapshot.resume({"exc_type": "NameError", "message": self._unknown(name)})
            return self._call(snapshot, target)
        if name == SLEEP:
            return self._sleep(snapshot)
        if name in _CLOCKS:
            return self._tell_time(snapshot)
        if name == "time.sleep":
            return snapshot.resume(
                {
                    "exc_type": "RuntimeError",
                    "message": "time.sleep() would hold a worker; write: await asyncio.sleep(...)",
                }
            )
        return snapshot.resume_not_handled()

    def _call(self, snapshot: FunctionSnapshot, target: str) -> SyncSnapshot:
        name, limit = snapshot.function_name, self.value_limit(snapshot.call_id)
        try:
            args = to_text(list(snapshot.args), "args", limit)
            kwargs = to_text(given, "kwargs", limit) if (given := snapshot.kwargs) else "{}"
        except (UnstorableValue, TypeError) as exc:  # TypeError: a set of sandbox instances
            return snapshot.resume({"exc_type": "TypeError", "message": f"{name}(): {exc}"})
        except NotAwaited as exc:
            message = f"{name}() was given a coroutine: await {self._call_name(exc)}(...) first"
            return snapshot.resume({"exc_type": "TypeError", "message": message})
        self._record(
            CallRequest(snapshot.call_id, "function", target, args, kwargs, _position(snapshot))
        )
        return snapshot.resume({"future": ...})

    def _sleep(self, snapshot: FunctionSnapshot) -> SyncSnapshot:
        delay = max(0.0, float(snapshot.args[0]))
        if not math.isfinite(delay) or delay > _MAX_SLEEP:
            message = "asyncio.sleep() takes at most 100 years"
            return snapshot.resume({"exc_type": "OverflowError", "message": message})
        self._record(
            CallRequest(
                snapshot.call_id,
                "timer",
                SLEEP,
                codec.encode([delay]),
                "{}",
                _position(snapshot),
                delay=delay,
            )
        )
        return snapshot.resume({"future": ...})

    def _tell_time(self, snapshot: FunctionSnapshot) -> SyncSnapshot:
        result = self.read_clock(snapshot)
        self._record(
            CallRequest(
                snapshot.call_id,
                "clock",
                snapshot.function_name,
                "[]",
                "{}",
                _position(snapshot),
                result=result,
            )
        )
        return snapshot.resume({"return_value": codec.decode_for_sandbox(result)})

    def _record(self, call: CallRequest) -> None:
        self.admit(call)
        self._calls.append(call)

    def _look_up(self, snapshot: NameLookupSnapshot) -> SyncSnapshot:
        name = snapshot.variable_name
        if snapshot.object_id is None and name in self.workflow.functions:
            return snapshot.resume(value=_function_named(name))
        return snapshot.resume()

    def _complete(self, snapshot: MontyComplete) -> Completed | Failed:
        try:
            output = to_text(snapshot.output, "output", self.limits.value_bytes)
        except NotAwaited as exc:
            return self._not_awaited(exc.call_id, self._call_name(exc))
        except (UnstorableValue, TypeError) as exc:
            return Failed("TypeError", f"The output cannot be stored: {exc}")
        # An `await` of these would have suspended the turn, unless it raised before it could.
        made = [call for call in self._calls if call.kind != "clock"]
        places = forgotten(self.workflow.source, [call.position for call in made])
        for call in made:
            if call.position in places:
                return self._not_awaited(call.call_id, self._name_of(call))
        return Completed(output)

    def _failure(self, exc: MontyRuntimeError) -> Failed:
        error, message = exc.exception(), str(exc.exception())
        if isinstance(error, MemoryError) and message.endswith(f"> {self.limits.log_bytes} bytes"):
            return self._printed_too_much()
        if message.startswith("suspension limit"):
            return Failed(
                "RuntimeError", f"The workflow runs in circles: {message}.", _traceback(exc)
            )
        limit = message.startswith(("memory limit exceeded", "turn time limit exceeded"))
        return Failed(type(error).__name__, message, _traceback(exc), limit=limit)

    def _printed_too_much(self) -> Failed:
        return Failed(
            "RuntimeError", "The workflow printed more than DURABLE_MONTY['MAX_LOG_BYTES'] allows."
        )

    def _not_awaited(self, call_id: int | None, name: str) -> Failed:
        places = [
            f", called on line {self._line(call.position)},"
            for call in self._calls
            if call.call_id == call_id
        ]
        place = places[0] if places else ""
        return Failed(
            "RuntimeError",
            f"{name}(...){place} was never awaited. Write: await {name}(...)",
        )

    def _call_name(self, exc: NotAwaited) -> str:
        for call in self._calls:
            if call.call_id == exc.call_id:
                return self._name_of(call)
        return exc.name or "it"

    def _name_of(self, call: CallRequest) -> str:
        names = [name for name, known in self.workflow.functions.items() if known == call.function]
        return names[0] if names else call.function

    def _line(self, position: Position) -> int:
        return self.workflow.source.encode()[: position.start].count(b"\n") + 1

    def _unknown(self, name: str) -> str:
        if name in ("gather", "sleep"):
            return f"name {name!r} is not defined; write: from asyncio import {name}"
        known = ", ".join(sorted(self.workflow.functions)) or "none"
        return f"{name!r} is not a function that this workflow may call; it may call: {known}"


class _Stop(Exception):
    def __init__(self, outcome: Failed) -> None:
        self.outcome = outcome
        super().__init__()


def _function_named(name: str) -> Callable[[], None]:
    """A host function for the sandbox to hold as a value; calling it is an outside call."""

    def function() -> None: ...

    function.__name__ = function.__qualname__ = name
    return function


def _clock_value(snapshot: FunctionSnapshot, now: datetime) -> Any:
    match snapshot.function_name:
        case "date.today":
            return now.astimezone(UTC).date()
        case "time.time":  # every clock of the time module; epoch seconds
            return now.timestamp()
        case _:
            zone = snapshot.args[0] if snapshot.args else None
            return (
                now.astimezone(UTC).replace(tzinfo=None) if zone is None else now.astimezone(zone)
            )


def _position(snapshot: FunctionSnapshot | FutureSnapshot) -> Position:
    return Position(snapshot.position.start, snapshot.position.end)


def _traceback(exc: MontyRuntimeError | MontySyntaxError) -> str:
    return exc.display().replace('"<python-input-0>"', '"workflow"')
