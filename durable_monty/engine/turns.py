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
from durable_monty.engine.slow import SLOW, SlowTurns
from durable_monty.exceptions import DurableMontyError
from durable_monty.executors.base import Executor
from durable_monty.executors.lease import leases
from durable_monty.operations.advance import first_fault, host_is_to_blame, report
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.log import log_call, log_execution
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.outcomes import Advanced, Faulted
from durable_monty.sandbox import Settled

# Seconds without an answer, and in all, after which calls get their rows while they run.
_YOUTH, _YOUTH_ALL = 0.1, 1.0
# An answer waits so long for the next of its execution, and at most so long for all of them, so
# that one turn takes them all...
GATHER, _GATHER_ALL = 0.005, 0.5
# ... and finished turns for others, so that one commit does.
_GROUP = 0.001

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
        self._finished: deque[tuple[Held, Advanced | Faulted]] = deque()
        self.slow = SlowTurns()
        self._came = threading.Event()
        self._answers: list[tuple[ClaimedCall, Answer]] = []
        self._now, self._read_at = datetime.min, 0.0

    @property
    def has_finished(self) -> bool:
        return bool(self._finished)

    def take_finished(self) -> list[tuple[Held, Advanced | Faulted]]:
        """What has ended, to be committed."""
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
        """For the first turn of these to end, and a little for others; not for slow ones."""
        busy = sum(each.is_busy and not each.is_slow for each in held)
        if busy and not self._finished:
            self._came.wait(SLOW)
        if busy > len(self._finished) > 0:
            time.sleep(_GROUP)

    def begin(self, ready: Sequence[Held]) -> None:
        assert self.threads is not None  # noqa: S101
        if self.slow:
            ready = [held for held in ready if not self.slow.put_aside(held)]
        self._ready.extend(ready)
        if self.slow.stuck >= TURN_THREADS:
            self._relieve()
            return
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
        slow: list[Held] = []
        for each in held:
            with self._lock:
                if each.is_busy:
                    if each.is_slow or self._has_become_slow(each, now):
                        slow.append(each)
                    continue
                each.is_slow = False
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
        if slow or self.slow:
            self._make_way(slow)
        self.begin(aged)
        return len(aged)

    def _has_become_slow(self, held: Held, now: float) -> bool:
        since, lent = held.turn_since, held.lent
        if not since or now - since < SLOW:
            return False
        held.note_slow()
        if lent is not None:
            self.executor.replace_thread(lent)
        return True

    def _make_way(self, slow: Sequence[Held]) -> None:
        """Begins turns that wait behind slow ones, or for them to end."""
        for held in self.slow.note(slow):
            _start(partial(self._turn, held))
        ready = [self._ready.popleft() for _ in range(len(self._ready))]
        self._ready.extend(held for held in ready if not self.slow.put_aside(held))
        if self.slow.stuck:
            self._relieve()

    def _relieve(self) -> None:
        """Other threads than those that are stuck run the turns that are ready."""
        for _ in range(min(len(self._ready), max(TURN_THREADS, self.slow.stuck))):
            _start(self._run)

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

    def _turn(self, held: Held, lent: threading.Thread | None = None) -> None:
        held.lent, held.turn_since = lent, time.monotonic()
        outcome: Advanced | Faulted | None
        try:
            held.run_turn()
            outcome = self._ended(held)
            if outcome is None:
                return  # it goes on
            if host_is_to_blame(outcome):
                outcome = self._undone(held, first_fault(outcome))
        except Exception as exc:  # noqa: BLE001  (logged)
            if not isinstance(exc, DurableMontyError):
                log_execution(logging.ERROR, "turn failed", held.execution, exc, exc)
            outcome = self._undone(held, held.fault_of(exc))
        interpreter = None
        if isinstance(outcome, Advanced) and outcome.is_last:
            interpreter, held.interpreter = held.interpreter, None
        self._end_turn(held)
        self._finish(held, outcome)
        if interpreter is not None:
            interpreter.close()

    def _end_turn(self, held: Held) -> None:
        held.end_turn()
        if self.slow.has_aside:
            self._wake()  # it may have waited for this

    def _undone(self, held: Held, fault: Faulted) -> Advanced | Faulted:
        """What is to be kept although the last turn failed, if there is anything."""
        report(fault)
        with self._lock:
            held.is_parking = True
        try:
            held.close()
            if held.undo_turn():
                return held.outcome(holds=False)._replace(faulted=True)
        except Exception as exc:  # noqa: BLE001  (logged)
            log_execution(logging.ERROR, "turn failed", held.execution, exc, exc)
        return fault

    def _ended(self, held: Held) -> Advanced | None:
        """What is to be committed; None, if the calls of the turn can be run at once."""
        can_hold = not self.is_draining and held.can_hold(self._young_of)
        if can_hold and not held.needs_commit:
            self._end_turn(held)
            self.start_young(held)
            return None
        with self._lock:
            held.is_parking = not can_hold
        return held.outcome(holds=can_hold)

    def _park(self, held: Held) -> None:
        outcome: Advanced | Faulted
        try:
            outcome = held.outcome(holds=False)
        except Exception as exc:  # noqa: BLE001  (logged)
            # Whatever happens, the execution must not be held for ever.
            log_execution(logging.ERROR, "turn failed", held.execution, exc, exc)
            outcome = held.fault_of(exc)
        self._finish(held, outcome)

    def _finish(self, held: Held, outcome: Advanced | Faulted) -> None:
        self._finished.append((held, outcome))
        self._wake()

    def _wake(self) -> None:
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
        elif not self.slow or not self.slow.put_aside(held):
            self._turn(held, threading.current_thread())

    def _estimate(self) -> datetime:
        """The database's time, without asking for it."""
        return self._now + timedelta(seconds=time.monotonic() - self._read_at)


def _start(run: Callable[[], None]) -> None:
    # A daemon: a turn that takes long must not keep the process from ending.
    threading.Thread(target=run, name="durable_monty-turn", daemon=True).start()
