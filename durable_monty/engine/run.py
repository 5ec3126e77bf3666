from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from enum import Enum, auto

from durable_monty.functions import policy_of
from durable_monty.kinds import kind_of
from durable_monty.operations.answer import Answer
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.run import Run
from durable_monty.operations.turn_input import TurnInput
from durable_monty.sandbox import Suspended

# Seconds after which a turn is slow. On a busy machine any turn may be.
SLOW_AFTER = 0.05
# Seconds of processor time that a slow turn uses until it is very slow.
_WORKED = 0.02


class State(Enum):
    """The state of a run, which says who may use it."""

    WAITING = auto()  # its calls run: the thread of the last answer, or the worker's, moves it on
    READY = auto()  # a turn is to be run: the thread that takes it from the queue
    ASIDE = auto()  # as READY, behind slow turns of its program
    RUNNING = auto()  # the thread that runs the turn
    SLOW = auto()  # as RUNNING, but nobody waits for it
    VERY_SLOW = auto()  # as SLOW; its process gives way to others
    COMMITTING = auto()  # the thread that ran the turn
    ENDED = auto()  # to be committed: the worker's thread
    BLOCKED = auto()  # as ENDED, when another transaction has unlocked the execution


# Not sets: members of an enum have a slow hash.
_TURN_RUNS = (State.RUNNING, State.SLOW, State.VERY_SLOW)
_SLOW = (State.ASIDE, State.SLOW, State.VERY_SLOW)
_QUIET = (*_SLOW, State.BLOCKED)


class LiveRun(Run):
    """A run that the engine keeps from one commit to the next, with its live interpreter.

    The thread that `state` names may use all of it. Any other thread may only do what `lock`
    guards: to change the state, to add an answer, and to drop the run.

    `is_parking`: the execution is given up with the next commit, and calls that still run get
    their rows then. `inline` has the calls that run without a row, `late` the answers that did
    not go into the sandbox. `lent` is the executor's thread that runs the turn; it is None for a
    thread of the engine.
    """

    def __init__(self, given: TurnInput) -> None:
        super().__init__(given)
        self.lock = threading.Lock()
        self.state = State.READY
        self.is_parking = self.is_dropped = self.is_doubtful = False
        self.inline: dict[int, NewCall] = {}
        self.late: list[tuple[NewCall, Answer]] = []
        self.queued = 0  # inline calls that no thread has begun yet
        self.claimed_at = time.monotonic()
        self.turn_since = self.aside_since = self.called_at = self.answered_at = 0.0
        self.lent: threading.Thread | None = None
        self._cpu_before = 0.0

    @property
    def is_slow(self) -> bool:
        return self.state in _SLOW

    @property
    def is_quiet(self) -> bool:
        """Whether no round of the worker waits for it."""
        return self.state in _QUIET

    @property
    def needs_commit(self) -> bool:
        """Whether the last turn is committed before its calls are run: run again, with other
        answers or by another clock, it could make other calls."""
        return bool(
            self.execution.turn
            or len(self.turns) > 1
            or any(call.request.result is not None for call in self.calls)
        )

    def can_hold(self, executors: Collection[str]) -> bool:
        """Returns whether it waits only for calls of the last turn that these may run inline."""
        if self.interpreter is None or not isinstance(self.turns[-1].outcome, Suspended):
            return False
        inline = set()
        for call in self.calls:
            if call.delivered_turn is None:
                if call.turn != self.turn or call.executor not in executors:
                    return False
                if not kind_of(call).is_run or policy_of(call).needs_its_row:
                    return False
                inline.add(call.call_id)
        return self.interpreter.pending <= inline

    def begin_turn(self, lent: threading.Thread | None) -> None:
        with self.lock:
            # A turn that had to wait for slow ones is taken for one.
            self.state = State.SLOW if self.state is State.ASIDE else State.RUNNING
            self.lent, self.turn_since = lent, time.monotonic()

    def start_calls(self) -> list[NewCall]:
        """Returns the calls to run, and waits for them from now on."""
        calls = [call for call in self.calls if call.answer is None]
        with self.lock:
            if not self.is_dropped:
                self.inline = {call.call_id: call for call in calls}
                self.called_at = self.answered_at = time.monotonic()
                self.queued, self.state = len(calls), State.WAITING
                return calls
        self.leave(State.ENDED)
        return []

    def committed(self, changes: Mapping[str, object]) -> None:
        """Goes on from a commit, which wrote these columns of the execution."""
        for name, value in changes.items():
            setattr(self.execution, name, value)
        self.turns, self.delivered, self.loaded_turn = [], [], None
        self.calls = [call for call in self.calls if call.answer is None]

    def leave(self, state: State) -> None:
        """Gives the run to whoever may use it in `state`."""
        with self.lock:
            self.state = state
            is_dropped = self.is_dropped
        if is_dropped:
            self.close()

    def drop(self) -> None:
        """Closes the interpreter, now or when its turn has ended: to close one that runs would
        wait for that."""
        with self.lock:
            self.is_dropped, runs = True, self.state in _TURN_RUNS
            for call in self.calls:
                call.is_withdrawn = call.claimed is None  # nobody waits for it any more
        if not runs:
            self.close()

    # For the worker's thread, while another one runs the turn:

    def becomes_slow(self, now: float) -> bool:
        """Notes a turn that takes long, and returns whether it is one. The caller has the lock."""
        if self.state is not State.RUNNING or now - self.turn_since < SLOW_AFTER:
            return False
        self.state, self._cpu_before = State.SLOW, self._cpu_seconds()
        return True

    def is_very_slow(self) -> bool:
        """Returns whether its turn has worked since it became slow, instead of waiting for a
        core. It gives way to others from then on."""
        if self.state is State.SLOW and self._cpu_seconds() - self._cpu_before >= _WORKED:
            with self.lock:
                if self.state is State.SLOW:
                    self.state = State.VERY_SLOW
            if (interpreter := self.interpreter) is not None:
                interpreter.give_way()
        return self.state is State.VERY_SLOW

    def _cpu_seconds(self) -> float:
        interpreter = self.interpreter
        seconds = None if interpreter is None else interpreter.cpu_seconds
        return time.monotonic() if seconds is None else seconds
