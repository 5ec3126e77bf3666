"""Rebuilds an interpreter from the journal."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

from pydantic_monty import FunctionSnapshot

from durable_monty import codec
from durable_monty.exceptions import HostFault, ReplayMismatch
from durable_monty.sandbox.clocks import Clock
from durable_monty.sandbox.interpreter import Interpreter
from durable_monty.sandbox.types import (
    CallRequest,
    Completed,
    Failed,
    Limits,
    Position,
    RecordedTurn,
    RecordedTurns,
    Settled,
    Suspended,
    Turn,
    Workflow,
)

_ADDRESS = re.compile(r"0x[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The state of a source after a journal: its position, that of each call, and its log."""

    position: Position
    calls: Mapping[int, Position]
    log: str


def replay(
    workflow: Workflow,
    journal: RecordedTurns,
    limits: Limits,
    clock: Clock,
    *,
    dump: bytes | None = None,
    printed: int = 0,
    errors: Iterable[Iterable[Settled]] = (),
    is_open: bool = False,
) -> Interpreter:
    """Runs the turns of `journal` again, and returns the interpreter as it stands after them.

    With `dump` (a snapshot), `journal` holds only the turns after it, and `errors` those of the
    turns before, turn by turn. `printed` is the number of bytes that the recorded turns printed;
    they are printed again, and discarded. With `is_open`, the last turn may make calls that were
    not recorded; they are the interpreter's `unrecorded`.

    Raises `ReplayMismatch` if the source does anything else than was recorded,
    `SnapshotUnusable`, or `HostFault`.
    """
    limits_now = replace(limits, log_bytes=limits.log_bytes + printed)
    interpreter = _Replay(workflow, _generous(limits_now), clock)
    for given in errors:
        interpreter.error_types.note(given)
    try:
        if dump is not None:
            interpreter.load(dump)
        for number, recorded in enumerate(journal, 1):
            if recorded.after_load and dump is None:
                interpreter = interpreter.reloaded()
            dump = None
            interpreter.replay_turn(recorded, is_open=is_open and number == len(journal))
    except BaseException:
        interpreter.close()
        raise
    interpreter.go_live(limits)
    return interpreter


def retrace(
    workflow: Workflow,
    journal: RecordedTurns,
    limits: Limits,
    clock: Clock,
    *,
    may_end: bool,
) -> Generator[Turn, None, None]:
    """Runs a journal from its beginning, and yields each turn.

    `limits` are those of the whole run; `may_end` says whether the last turn may end the workflow.
    The generator keeps its sandbox until it ends or is closed. Raises as `replay` does.
    """
    interpreter = _Replay(workflow, _generous(limits), clock)
    try:
        for number, recorded in enumerate(journal, 1):
            if recorded.after_load:
                interpreter = interpreter.reloaded()
            is_last = number == len(journal)
            yield interpreter.replay_turn(recorded, may_end=may_end and is_last)
    finally:
        interpreter.close()


def rehearse(workflow: Workflow, journal: RecordedTurns, limits: Limits) -> Rehearsal:
    """Runs a journal of one turn or more with a source that may have been edited since.

    `limits` are those of the whole run. Raises as `replay` does.
    """
    positions: dict[int, Position] = {}
    printed: list[str] = []
    turn: Turn | None = None
    for turn in retrace(workflow, journal, limits, _no_clock, may_end=False):
        positions |= {call.call_id: call.position for call in turn.calls}
        printed.append(turn.log)
    assert turn is not None  # noqa: S101
    assert isinstance(turn.outcome, Suspended)  # noqa: S101  (else it had raised)
    return Rehearsal(turn.outcome.position, positions, "".join(printed))


def _no_clock() -> NoReturn:
    raise AssertionError("the journal has every reading of the clock")


def _generous(limits: Limits) -> Limits:
    # Consumed memory differs between a loaded and a live run (591 KB and 633 KB of one program).
    return replace(limits, memory=2 * limits.memory)


class _Replay(Interpreter):
    """Answers the clock from the journal and compares each call with it, until `go_live`."""

    def __init__(self, workflow: Workflow, limits: Limits, clock: Clock) -> None:
        super().__init__(workflow, limits, clock)
        self._recorded: RecordedTurn | None = None
        self._is_open = False

    def reloaded(self) -> _Replay:
        """Returns another that goes on from here, and closes this one."""
        saved = self.dump()
        self.close()
        fresh = _Replay(self.workflow, self.limits, self.clock)
        try:
            fresh.load(saved)
            fresh.open_calls.known = self.open_calls.known
            fresh.error_types = self.error_types
        except BaseException:
            fresh.close()
            raise
        return fresh

    def replay_turn(
        self, recorded: RecordedTurn, *, may_end: bool = False, is_open: bool = False
    ) -> Turn:
        """Runs a recorded turn again. `may_end` says whether it may end the workflow, `is_open`
        whether it may make calls that were not recorded."""
        self._recorded, self._is_open = recorded, is_open
        if recorded.turn > 1:
            turn = self.resume(recorded.answers)
        else:
            # A workflow that was refused at its start has made no call.
            turn = self.start() if may_end and not recorded.calls else self.begin()
        match turn.outcome:
            case Failed(limit=True, message=message):
                raise HostFault(f"a limit was broken in replay: {message}")
            case Failed(error_type=error_type, message=message) if not may_end:
                came_to = f"{error_type}: {message}"
                raise ReplayMismatch(recorded.turn, None, "a suspension", came_to)
            case Completed() if not may_end:
                came_to = "the end of the workflow"
                raise ReplayMismatch(recorded.turn, None, "a suspension", came_to)
        missing = recorded.calls.keys() - {call.call_id for call in turn.calls}
        if missing:
            call_id = min(missing)
            raise ReplayMismatch(
                recorded.turn, call_id, _describe(recorded.calls[call_id]), "no such call"
            )
        return turn

    def go_live(self, limits: Limits) -> None:
        """Ends the replay: from here on the workflow does new things, within its own limits."""
        self._recorded = None
        self.limits = replace(limits, log_bytes=self.limits.log_bytes)
        self._log_left = limits.log_bytes
        self._made = 0

    def admit(self, call: CallRequest) -> None:
        if self._recorded is None:
            return super().admit(call)
        recorded = self._recorded.calls.get(call.call_id)
        if recorded is None and self._is_open:
            self.unrecorded.append(call)
            return None
        if recorded is None:
            raise ReplayMismatch(
                self._recorded.turn, call.call_id, "no such call", _describe(call)
            )
        if not all(map(codec.are_alike, _identity(recorded), _identity(call))):
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


def _identity(call: CallRequest) -> tuple[str, str, str, str]:
    """Returns what must be alike in replay; heap addresses change when a run is loaded."""
    return (
        call.kind,
        call.function,
        _ADDRESS.sub("0x", call.args),
        _ADDRESS.sub("0x", call.kwargs),
    )


def _describe(call: CallRequest) -> str:
    arguments = f"{_shown(call.args)} {_shown(call.kwargs)}"
    return f"{call.function} {arguments[:200]}{'…' if len(arguments) > 200 else ''}"


def _shown(text: str) -> str:
    """Returns stored JSON as Python shows it, without the codec's tags."""
    return repr(codec.decode(text)) if '{"$' in text else text
