"""Rebuilding an interpreter from the journal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

from pydantic_monty import FunctionSnapshot

from durable_monty.exceptions import HostFault, ReplayMismatch
from durable_monty.sandbox.interpreter import Clock, Interpreter
from durable_monty.sandbox.journal import (
    CallRequest,
    Completed,
    Failed,
    Limits,
    Position,
    RecordedTurn,
    Suspended,
    Turn,
    Workflow,
)

_ADDRESS = re.compile(r"0x[0-9a-f]+")


def replay(
    workflow: Workflow,
    journal: Iterable[RecordedTurn],
    limits: Limits,
    clock: Clock,
    *,
    dump: bytes | None = None,
    printed: int = 0,
) -> Interpreter:
    """An interpreter that stands where `journal` ends: its turns, in order, are run again.

    With `dump` (a snapshot), `journal` holds only the turns after it. `printed`: bytes that the
    recorded turns printed; they are printed again, and discarded. Raises `ReplayMismatch` if the
    source does anything else than was recorded, `SnapshotUnusable`, or `HostFault`.
    """
    interpreter = _replayed(workflow, journal, limits, clock, dump=dump, printed=printed)
    interpreter.go_live(limits)
    return interpreter


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a source did on a journal: where it stands after it, the place of each call, and what
    it printed."""

    position: Position
    calls: Mapping[int, Position]
    log: str


def rehearse(
    workflow: Workflow, journal: Iterable[RecordedTurn], limits: Limits, *, printed: int = 0
) -> Rehearsal:
    """Whether `workflow`, maybe with other source, does what the journal (one turn or more) says.

    Raises as `replay` does.
    """
    with _replayed(workflow, journal, limits, _no_clock, printed=printed) as interpreter:
        turns = interpreter.replayed
        outcome = turns[-1].outcome
        assert isinstance(outcome, Suspended)  # noqa: S101  (else it had raised)
        return Rehearsal(
            outcome.position,
            {call.call_id: call.position for turn in turns for call in turn.calls},
            "".join(turn.log for turn in turns),
        )


def _no_clock() -> NoReturn:
    raise AssertionError("the journal has every reading of the clock")


def _replayed(
    workflow: Workflow,
    journal: Iterable[RecordedTurn],
    limits: Limits,
    clock: Clock,
    *,
    dump: bytes | None = None,
    printed: int,
) -> _Replay:
    # Consumed memory differs a little between a loaded and a live run.
    generous = replace(limits, memory=2 * limits.memory, log_bytes=limits.log_bytes + printed)
    interpreter = _Replay(workflow, generous, clock)
    try:
        if dump is not None:
            interpreter.load(dump)
        for recorded in journal:
            if recorded.after_load and dump is None:
                saved, turns = interpreter.dump(), interpreter.replayed
                interpreter.close()
                interpreter = _Replay(workflow, generous, clock)
                interpreter.replayed = turns
                interpreter.load(saved)
            dump = None
            interpreter.replay_turn(recorded)
    except BaseException:
        interpreter.close()
        raise
    return interpreter


class _Replay(Interpreter):
    """Answers the clock from the journal and compares each call with it, until `go_live`."""

    def __init__(self, workflow: Workflow, limits: Limits, clock: Clock) -> None:
        super().__init__(workflow, limits, clock)
        self._recorded: RecordedTurn | None = None
        self.replayed: list[Turn] = []

    def replay_turn(self, recorded: RecordedTurn) -> None:
        self._recorded = recorded
        turn = self.resume(recorded.answers) if recorded.turn > 1 else self.start()
        self._compare_outcome(recorded, turn)
        self.replayed.append(turn)
        missing = recorded.calls.keys() - {call.call_id for call in turn.calls}
        if missing:
            call_id = min(missing)
            raise ReplayMismatch(
                recorded.turn, call_id, _describe(recorded.calls[call_id]), "no such call"
            )

    def go_live(self, limits: Limits) -> None:
        """From here on the workflow does new things, within its usual limits."""
        self._recorded = None
        self.replayed = []
        self.limits = replace(limits, log_bytes=self.limits.log_bytes)
        self._log_left = limits.log_bytes
        self._made = 0

    def admit(self, call: CallRequest) -> None:
        if self._recorded is None:
            return super().admit(call)
        recorded = self._recorded.calls.get(call.call_id)
        if recorded is None:
            raise ReplayMismatch(
                self._recorded.turn, call.call_id, "no such call", _describe(call)
            )
        if _identity(recorded) != _identity(call):
            raise ReplayMismatch(
                self._recorded.turn, call.call_id, _describe(recorded), _describe(call)
            )
        return None

    def read_clock(self, snapshot: FunctionSnapshot) -> str:
        if self._recorded is None:
            return super().read_clock(snapshot)
        recorded = self._recorded.calls.get(snapshot.call_id)
        if recorded is None or recorded.result is None:
            raise ReplayMismatch(
                self._recorded.turn,
                snapshot.call_id,
                "no such call" if recorded is None else _describe(recorded),
                f"{snapshot.function_name}()",
            )
        return recorded.result

    def value_limit(self, call_id: int) -> int | None:
        # A call that was accepted stays accepted when the limit is lowered.
        if self._recorded is not None and call_id in self._recorded.calls:
            return None
        return super().value_limit(call_id)

    def _compare_outcome(self, recorded: RecordedTurn, turn: Turn) -> None:
        match turn.outcome:
            case Suspended():
                return
            case Failed(limit=True, message=message):
                raise HostFault(f"a limit was broken in replay: {message}")
            case Failed(error_type=error_type, message=message):
                came_to = f"{error_type}: {message}"
            case Completed():
                came_to = "the end of the workflow"
        raise ReplayMismatch(recorded.turn, None, "a suspension", came_to)


def _identity(call: CallRequest) -> tuple[str, str, str, str]:
    """What must be the same in replay; heap addresses change when a run is loaded."""
    return (
        call.kind,
        call.function,
        _ADDRESS.sub("0x", call.args),
        _ADDRESS.sub("0x", call.kwargs),
    )


def _describe(call: CallRequest) -> str:
    arguments = f"{call.args} {call.kwargs}"
    return f"{call.function} {arguments[:200]}{'…' if len(arguments) > 200 else ''}"
