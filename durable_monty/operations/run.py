"""A claimed execution whose turns are run: what goes in, the sandbox, and what comes out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from durable_monty.exceptions import HostFault, ReplayMismatch, SnapshotUnusable
from durable_monty.models import Snapshot
from durable_monty.operations.journal import settled
from durable_monty.operations.limits import limits_of_settings
from durable_monty.operations.log import log_execution
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.outcomes import Faulted, Mismatched, TurnResult
from durable_monty.operations.sources import workflow_of
from durable_monty.operations.turn_clock import TurnClock
from durable_monty.operations.turn_input import TurnInput
from durable_monty.sandbox import (
    CallRequest,
    Interpreter,
    Suspended,
    Turn,
    dictionary_of,
    digest_of,
    pack,
    replay,
    unpack,
)

# An execution that waits for a person or sleeps is dumped after each turn, others after every
# eighth: if their worker vanishes, a replay of a few turns costs less than all these dumps.
_EVERY = 8
# A dump grows with the open calls (20 bytes each, compressed), and a wide gather that is answered
# one by one would write it for each answer. So it is written after every second turn from so many
# open calls on, after every third from twice as many, and so on.
_WIDE = 32


class Run:
    """The turns of one claimed execution since its last commit.

    A run belongs to one thread at a time. `calls` have no rows yet, and `delivered` has the keys
    of the rows whose answers the first of the turns takes.
    """

    def __init__(self, given: TurnInput) -> None:
        self.given, self.execution = given, given.execution
        self.clock = TurnClock(given.now, given.read_at, given.execution.clock_at)
        self.interpreter: Interpreter | None = None
        self.turns: list[Turn] = []
        self.calls: list[NewCall] = []
        self.answers = {call.call_id: settled(call) for call in given.answers}
        self.delivered = [call.pk for call in given.answers]
        self.loaded_turn = None if given.snapshot is None else given.snapshot.turn + 1
        self.is_clean = not given.execution.turn

    @property
    def turn(self) -> int:
        return self.execution.turn + len(self.turns)

    def advance(self) -> None:
        """Runs the next turn, if there is anything to run it for. Raises as the interpreter
        does."""
        if self.interpreter is None:
            self.interpreter = self._open()
        answers, self.answers = self.answers, {}
        number = self.turn + 1
        if number > 1 and not answers:
            return
        turn = self.interpreter.resume(answers) if number > 1 else self.interpreter.start()
        self.turns.append(turn)
        for call in self.calls:
            if call.call_id in answers and call.delivered_turn is None:
                call.delivered_turn = number
        self._add_calls(number, turn.calls)

    def result(self, *, holds: bool = False) -> TurnResult:
        """Returns what is to be committed. `holds`: the worker keeps the execution after that."""
        result = TurnResult(
            self.execution,
            tuple(self.turns),
            tuple(self.calls),
            delivered=tuple(self.delivered),
            loaded_turn=self.loaded_turn,
            clock_at=self.clock.read_last,
            holds=holds,
            is_clean=self.is_clean,
        )
        if holds or result.is_last or self.interpreter is None:
            return result  # without an interpreter the last turn was undone
        return result._replace(**_snapshot(self.interpreter, result))

    def failed_by(self, exc: Exception) -> Faulted | Mismatched:
        """Returns what becomes of the execution after `advance` or `result` raised `exc`."""
        if isinstance(exc, ReplayMismatch):
            has_snapshot = self.given.snapshot is not None
            return Mismatched(self.execution, str(exc), from_snapshot=has_snapshot)
        if isinstance(exc, (SnapshotUnusable, HostFault)):
            return Faulted(self.execution, str(exc))
        log_execution(logging.ERROR, "turn failed", self.execution, exc, exc)
        return Faulted(self.execution, f"{type(exc).__name__}: {exc}", is_ours=True)

    def undo_turn(self) -> bool:
        """Forgets the last turn, which failed for reasons of the host, but no answer. Returns
        whether anything is left to commit."""
        self.turns = [turn for turn in self.turns if isinstance(turn.outcome, Suspended)]
        self.calls = [call for call in self.calls if call.turn <= self.turn]
        for call in self.calls:
            if call.delivered_turn is not None and call.delivered_turn > self.turn:
                call.delivered_turn = None
        self.delivered, self.loaded_turn = [], None
        return bool(self.turns or any(call.answer is not None for call in self.calls))

    def close(self) -> None:
        interpreter, self.interpreter = self.interpreter, None
        if interpreter is not None:
            interpreter.close()

    def _add_calls(self, turn: int, requests: Sequence[CallRequest]) -> None:
        self.calls += [NewCall.of(self.execution.pk, turn, request) for request in requests]

    def _open(self) -> Interpreter:
        """Returns the interpreter after the last committed turn: live, new, loaded or replayed."""
        given, execution, program = self.given, self.execution, self.execution.program
        if given.interpreter is not None:
            given.interpreter.clock = self.clock
            return given.interpreter
        workflow = workflow_of(execution)
        settings, printed = limits_of_settings(), len(execution.log.encode())
        limits = replace(
            settings,
            calls=max(0, settings.calls - execution.call_count),
            log_bytes=max(0, settings.log_bytes - printed),
        )
        if not execution.turn:
            return Interpreter(workflow, limits, self.clock)
        stored = given.snapshot
        interpreter = replay(
            workflow,
            given.journal or (),
            limits,
            self.clock,
            dump=None if stored is None else dump_of(stored, program.dictionary),
            printed=printed,
            errors=given.errors,
            is_open=given.may_lack_calls,
        )
        # The last turn made these for a worker that vanished before it wrote them down.
        self._add_calls(execution.turn, interpreter.unrecorded)
        return interpreter


def dump_of(snapshot: Snapshot, stored: bytes | memoryview | None) -> bytes:
    """Returns the dump in a snapshot. `stored` is the dictionary of its program. Raises
    `SnapshotUnusable`."""
    dictionary = bytes(stored) if snapshot.dictionary and stored is not None else None
    if digest_of(dictionary) != snapshot.dictionary:
        raise SnapshotUnusable("the dictionary that it needs is gone")
    dump, digest = unpack(bytes(snapshot.data), snapshot.size, dictionary)
    snapshot.verify(digest)
    return dump


def _snapshot(interpreter: Interpreter, result: TurnResult) -> dict[str, Any]:
    """Returns the `packed` and `dictionary` of a result, or nothing where a replay costs less than
    a dump."""
    execution, program = result.execution, result.execution.program
    every = 1 if any(call.waits_long for call in result.calls) else _EVERY
    if result.turn % max(every, 1 + len(interpreter.pending) // _WIDE):
        return {}
    try:
        dump = interpreter.dump()
    except HostFault as exc:
        # The next turn begins with a replay.
        log_execution(logging.WARNING, "no snapshot", execution, exc)
        return {}
    if program.dictionary is not None:
        return {"packed": pack(dump, bytes(program.dictionary))}
    # It is used once it is stored, because two workers may make different ones.
    functions = tuple(sorted(program.functions.items()))
    made = dictionary_of(
        program.source, functions, execution.inputs, limits_of_settings(), program.entry
    )
    return {"packed": pack(dump), "dictionary": made}
