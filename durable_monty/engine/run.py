from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from durable_monty.exceptions import DurableMontyError
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.kinds import kind_of
from durable_monty.models import Execution
from durable_monty.operations.advance import open_interpreter, saved
from durable_monty.operations.answer import Answer
from durable_monty.operations.journal import settled
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.outcomes import Faulted, TurnResult
from durable_monty.operations.turn_clock import TurnClock
from durable_monty.operations.turn_input import TurnInput
from durable_monty.sandbox import Interpreter, Settled, Suspended, Turn


@dataclass(slots=True, eq=False)
class Run:
    """A claimed execution between two commits.

    `inline`: calls that run and have no row. `is_busy`: a turn is being run, or committed.
    `is_parking`: it is to be given up with the next commit; what still runs gets its row then.
    `turn_since`: when the turn that runs now began, 0 if none does; `aside_since`: when it began
    to wait for slow ones, 0 if it does not. `is_slow`: nobody waits for it. `lent`: the thread of
    the executor that runs the turn, None if it is one of the worker's own. `is_dropped`: whoever
    runs the turn is to close the interpreter.
    """

    step: TurnInput
    execution: Execution
    clock: TurnClock
    interpreter: Interpreter | None = None
    turns: list[Turn] = field(default_factory=list)
    calls: list[NewCall] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)
    answers: dict[int, Settled] = field(default_factory=dict)
    inline: dict[int, NewCall] = field(default_factory=dict)
    late: list[tuple[NewCall, Answer]] = field(default_factory=list)
    queued: int = 0  # inline calls that no thread has begun yet
    is_busy: bool = True
    is_parking: bool = False
    is_clean: bool = False
    is_slow: bool = False
    gives_way: bool = False
    is_dropped: bool = False
    since: float = field(default_factory=time.monotonic)
    turn_since: float = 0.0
    aside_since: float = 0.0
    cpu_before: float = 0.0
    lent: threading.Thread | None = None
    loaded_turn: int | None = None
    called_at: float = 0.0
    answered_at: float = 0.0

    @classmethod
    def of(cls, step: TurnInput) -> Run:
        clock = TurnClock(step.now, step.read_at, step.execution.clock_at)
        run = cls(step, step.execution, clock, is_clean=not step.execution.turn)
        run.answers = {call.call_id: settled(call) for call in step.answers}
        run.delivered = [call.pk for call in step.answers]
        if step.snapshot is not None:
            run.loaded_turn = step.snapshot.turn + 1
        return run

    @property
    def turn(self) -> int:
        return self.execution.turn + len(self.turns)

    @property
    def needs_commit(self) -> bool:
        """Before the calls of the last turn are run: it could come out otherwise if it were run
        again, with other answers or by another clock."""
        return bool(
            self.execution.turn
            or len(self.turns) > 1
            or any(call.request.result is not None for call in self.calls)
        )

    def run_turn(self) -> None:
        """Raises as the interpreter does."""
        if self.interpreter is None:
            self.interpreter = open_interpreter(self.step, self.clock)
        answers, self.answers = self.answers, {}
        number = self.turn + 1
        turn = self.interpreter.resume(answers) if number > 1 else self.interpreter.start()
        self.turns.append(turn)
        for call in self.calls:
            if call.call_id in answers and call.delivered_turn is None:
                call.delivered_turn = number
        self.calls += [NewCall.of(self.execution.id, number, request) for request in turn.calls]

    def undo_turn(self) -> bool:
        """Forgets the last turn, which failed for reasons of the host, but no answer; whether
        anything is left to be committed."""
        self.turns = [turn for turn in self.turns if isinstance(turn.outcome, Suspended)]
        self.calls = [call for call in self.calls if call.turn <= self.turn]
        for call in self.calls:
            if call.delivered_turn is not None and call.delivered_turn > self.turn:
                call.delivered_turn = None
        self.delivered, self.loaded_turn = [], None
        return bool(self.turns or any(call.answer is not None for call in self.calls))

    def can_hold(self, executors: Collection[str]) -> bool:
        """Whether all that it waits for is calls of the last turn that these may run inline."""
        if self.interpreter is None or not isinstance(self.turns[-1].outcome, Suspended):
            return False
        inline = set()
        for call in self.calls:
            if call.delivered_turn is None:
                if call.turn != self.turn or not can_run_inline(call, executors):
                    return False
                inline.add(call.call_id)
        return self.interpreter.pending <= inline

    def outcome(self, *, holds: bool) -> TurnResult:
        outcome = TurnResult(
            self.execution,
            tuple(self.turns),
            tuple(self.calls),
            delivered=tuple(self.delivered),
            loaded_turn=self.loaded_turn,
            clock_at=self.clock.read_last,
            holds=holds,
            is_clean=self.is_clean,
        )
        if holds or outcome.is_last or self.interpreter is None:
            return outcome  # one that is not last without interpreter: of a turn that was undone
        return outcome._replace(**saved(self.interpreter, outcome))

    def committed(self, changes: Mapping[str, object]) -> None:
        """Goes on from there."""
        for name, value in changes.items():
            setattr(self.execution, name, value)
        self.turns, self.delivered, self.loaded_turn = [], [], None
        self.calls = [call for call in self.calls if call.answer is None]

    def fault_of(self, exc: Exception) -> Faulted:
        is_ours = not isinstance(exc, DurableMontyError)
        why = f"{type(exc).__name__}: {exc}" if is_ours else str(exc)
        return Faulted(self.execution, why, is_ours=is_ours, at_once=True)

    def drop(self) -> None:
        """Closes the interpreter; one that runs, when it has ended: to close it waits for that."""
        self.is_dropped = True
        if not self.turn_since:
            self.close()

    def note_slow(self) -> None:
        self.is_slow, self.cpu_before = True, self._cpu_seconds()

    def is_very_slow(self, seconds: float) -> bool:
        """Whether its turn has worked for so long since it became slow: it does not only wait for
        a core. It gives way to others from then on."""
        if not self.gives_way and self._cpu_seconds() - self.cpu_before >= seconds:
            self.gives_way = True
            if self.interpreter is not None:
                self.interpreter.give_way()
        return self.gives_way

    def _cpu_seconds(self) -> float:
        interpreter = self.interpreter
        seconds = None if interpreter is None else interpreter.cpu_seconds
        return time.monotonic() if seconds is None else seconds

    def end_turn(self) -> None:
        self.turn_since, self.is_slow, self.gives_way = 0.0, False, False
        if self.is_dropped:
            self.close()

    def close(self) -> None:
        interpreter, self.interpreter = self.interpreter, None
        if interpreter is not None:
            interpreter.close()

    def start_calls(self) -> list[NewCall]:
        self.inline = {call.call_id: call for call in self.calls if call.answer is None}
        self.called_at = self.answered_at = time.monotonic()
        self.is_busy, self.queued = False, len(self.inline)
        return list(self.inline.values())


def can_run_inline(call: NewCall, executors: Collection[str]) -> bool:
    if call.executor not in executors or not kind_of(call).is_run:
        return False
    function = FUNCTION_REGISTRY.get(call.function)
    return function is not None and not function.needs_its_row
