"""What runs between two commits, in threads: turns, and the young calls that they make."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial

from durable_monty.engine.held import Held
from durable_monty.exceptions import DurableMontyError
from durable_monty.executors.base import Executor
from durable_monty.executors.lease import leases
from durable_monty.operations.advance import host_is_to_blame
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.log import log_call, log_execution
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.outcomes import Advanced
from durable_monty.sandbox import Settled

# Seconds without an answer, and in all, after which calls get their rows while they run.
_YOUTH, _YOUTH_ALL = 0.1, 1.0
# An answer waits so long for the next of its execution, and at most so long for all of them, so
# that one turn takes them all...
GATHER, _GATHER_ALL = 0.005, 0.5
# ... and finished turns for others, so that one commit does.
_GROUP = 0.001
_PATIENCE = 0.25

TURN_THREADS = 4  # more gain nothing on two cores: a turn waits for another process


class Turns:
    """Its public methods are for the worker's thread. Turns are run in `threads` of that, or in
    the executor's where an answer comes in: it runs the young calls."""

    def __init__(self, executor: Executor, using: str) -> None:
        self.executor, self.using = executor, using
        self.threads: ThreadPoolExecutor | None = None
        self.is_draining = False
        self._young_of: Collection[str] = executor.serves() if executor.runs_young else ()
        self._lock = threading.Lock()
        self._ready: deque[Held] = deque()
        self._finished: deque[tuple[Held, Advanced | None]] = deque()
        self._came = threading.Event()
        self._answers: list[tuple[ClaimedCall, Answer]] = []
        self._now, self._read_at = datetime.min, 0.0

    @property
    def has_finished(self) -> bool:
        return bool(self._finished)

    def take_finished(self) -> list[tuple[Held, Advanced | None]]:
        """What has ended, to be committed; None, if nothing has come of it."""
        return [self._finished.popleft() for _ in range(len(self._finished))]

    def take_answers(self) -> list[tuple[ClaimedCall, Answer]]:
        """Of calls that got their rows while they ran."""
        with self._lock:
            answers, self._answers = self._answers, []
        return answers

    def note_time(self, now: datetime, read_at: float) -> None:
        """The database's, and the monotonic clock's when it was read."""
        self._now, self._read_at = now, read_at

    def expect(self) -> None:
        """What ends from here on is waited for."""
        self._came.clear()

    def wait(self, seconds: float) -> None:
        self._came.wait(seconds)

    def wait_for(self, held: Iterable[Held]) -> None:
        """For the first turn of these to end, and a little for others."""
        busy = sum(each.is_busy for each in held)
        if busy and not self._finished:
            self._came.wait(_PATIENCE)
        if busy > len(self._finished) > 0:
            time.sleep(_GROUP)

    def begin(self, ready: Sequence[Held]) -> None:
        assert self.threads is not None  # noqa: S101
        self._ready.extend(ready)
        for _ in ready[:TURN_THREADS]:
            self.threads.submit(self._run)

    def start_young(self, held: Held) -> None:
        with self._lock:
            calls = held.start_young()
        self.executor.run_young(
            calls, partial(self._start_call, held), partial(self._answer, held)
        )

    def let_age(self, held: Iterable[Held]) -> int:
        """Delivers answers that have waited for others long enough, and parks executions whose
        calls are young no more."""
        now = time.monotonic()
        aged: list[Held] = []
        for each in held:
            with self._lock:
                if each.is_busy:
                    continue
                age, silence = now - each.young_since, now - each.answered_at
                is_silent = silence > GATHER and not each.queued
                if each.answers and (is_silent or age > _GATHER_ALL):
                    pass
                elif self.is_draining or silence > _YOUTH or age > _YOUTH_ALL:
                    each.is_parking = True
                else:
                    continue
                each.is_busy = True
            aged.append(each)
        self.begin(aged)
        return len(aged)

    def hand_over(self, held: Held) -> None:
        """What runs has a row now; its answer goes there."""
        with self._lock:
            late = {call.call_id for call, _answer in held.late}
            self._answers += [
                (call.claimed, answer) for call, answer in held.late if call.claimed is not None
            ]
            for call in held.calls:
                if call.claimed is not None and call.call_id not in late:
                    leases.hold(call.claimed, using=self.using)

    def withdraw(self, held: Held) -> None:
        """Nobody waits for its young calls any more."""
        with self._lock:
            for call in held.calls:
                call.is_withdrawn = call.claimed is None

    # Turns

    def _run(self) -> None:
        """All that are ready: to hand each to a thread costs as much as a turn."""
        while True:
            try:
                held = self._ready.popleft()
            except IndexError:
                return
            if held.is_parking:
                self._park(held)
            else:
                self._turn(held)

    def _turn(self, held: Held) -> None:
        outcome: Advanced | None = None
        try:
            held.run_turn()
            outcome = self._ended(held)
            if outcome is None:
                return  # it goes on
        except Exception as exc:  # noqa: BLE001  (logged)
            # Of the sandbox or its host: the careful way says what it is, and counts it.
            if not isinstance(exc, DurableMontyError):
                log_execution(logging.ERROR, "turn failed", held.execution, exc, exc)
        if outcome is None or host_is_to_blame(outcome):
            outcome = self._outcome(held, self._undone)
        interpreter = None
        if outcome is not None and outcome.is_last:
            interpreter, held.interpreter = held.interpreter, None
        self._finish(held, outcome)
        if interpreter is not None:
            interpreter.close()

    def _undone(self, held: Held) -> Advanced | None:
        """What is to be kept although the last turn failed, if there is anything."""
        with self._lock:
            held.is_parking = True
        held.close()
        return held.outcome(holds=False) if held.undo_turn() else None

    def _ended(self, held: Held) -> Advanced | None:
        """What is to be committed; None, if the calls of the turn can be run at once."""
        can_hold = not self.is_draining and held.can_hold(self._young_of)
        if can_hold and not held.needs_commit:
            self.start_young(held)
            return None
        with self._lock:
            held.is_parking = not can_hold
        return held.outcome(holds=can_hold)

    def _park(self, held: Held) -> None:
        self._finish(held, self._outcome(held, partial(Held.outcome, holds=False)))

    def _outcome(self, held: Held, find: Callable[[Held], Advanced | None]) -> Advanced | None:
        """None, if that fails too: whatever happens, the execution must not be held for ever."""
        try:
            return find(held)
        except Exception as exc:  # noqa: BLE001  (logged)
            log_execution(logging.ERROR, "turn failed", held.execution, exc, exc)
            return None

    def _finish(self, held: Held, outcome: Advanced | None) -> None:
        self._finished.append((held, outcome))
        if not self._came.is_set():  # else the round that clears it sees this one too
            self._came.set()
            self.executor.wake()

    # Young calls, in the executor's threads

    def _start_call(self, held: Held, call: NewCall) -> bool:
        """Whether a call that waited for its thread is still to be run here."""
        with self._lock:
            if held.is_parking or call.is_withdrawn:
                return False
            call.started_at = self._estimate()
            held.queued -= 1
            return True

    def _answer(self, held: Held, call: NewCall, answer: Answer) -> None:
        with self._lock:
            if call.is_withdrawn:
                log_call(logging.WARNING, "answer refused", call, "it was withdrawn")
                return
            if call.claimed is not None:
                leases.release(call.claimed)
                self._answers.append((call.claimed, answer))
                self.executor.wake()
                return
            if held.is_parking or answer.result is None:
                # An error may be retried: that needs the row.
                held.late.append((call, answer))
                if held.is_parking or held.is_busy:
                    return
                held.is_parking = held.is_busy = True
            else:
                call.answer, call.finished_at = answer, self._estimate()
                del held.young[call.call_id]
                held.answers[call.call_id] = Settled(answer.result)
                held.answered_at = time.monotonic()
                if held.is_busy or held.young:
                    return
                held.is_busy = True
        if held.is_parking:
            self._park(held)
        else:
            self._turn(held)

    def _estimate(self) -> datetime:
        """The database's time, without asking for it."""
        return self._now + timedelta(seconds=time.monotonic() - self._read_at)
