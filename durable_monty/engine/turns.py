"""What runs between two commits, in threads: turns, and the inline calls that they make."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial

from durable_monty.engine.run import Run
from durable_monty.engine.slow import SLOW, SlowTurns
from durable_monty.exceptions import DurableMontyError
from durable_monty.executors.inline_runner import InlineRunner
from durable_monty.executors.lease import leases
from durable_monty.operations.advance import first_fault, host_is_to_blame, report
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.log import log_call, log_execution
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.outcomes import Faulted, TurnResult
from durable_monty.sandbox import Settled

# Seconds without an answer, and in all, after which calls get their rows while they run.
_INLINE, _INLINE_ALL = 0.1, 1.0
# An answer waits so long for the next of its execution, and at most so long for all of them, so
# that one turn takes them all...
GATHER, _GATHER_ALL = 0.005, 0.5
# ... and finished turns for others, so that one commit does.
_GROUP = 0.001

TURN_THREADS = 4  # more gain nothing on two cores: a turn waits for another process


class Turns:
    """Its public methods are for the worker's thread. Turns are run in `threads` of that, or in
    the executor's where an answer comes in: it runs the inline calls."""

    def __init__(self, runner: InlineRunner | None, wake: Callable[[], None], using: str) -> None:
        self._runner, self._wake_worker, self.using = runner, wake, using
        self.threads: ThreadPoolExecutor | None = None
        self.is_draining = False
        self._inline_executors: Collection[str] = runner.serves() if runner else ()
        self._lock = threading.Lock()
        self._ready: deque[Run] = deque()
        self._finished: deque[tuple[Run, TurnResult | Faulted]] = deque()
        self.slow = SlowTurns()
        self._came = threading.Event()
        self._answers: list[tuple[ClaimedCall, Answer]] = []
        self._now, self._read_at = datetime.min, 0.0

    @property
    def has_finished(self) -> bool:
        return bool(self._finished)

    def take_finished(self) -> list[tuple[Run, TurnResult | Faulted]]:
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

    def wait_for(self, run: Iterable[Run]) -> None:
        """For the first turn of these to end, and a little for others; not for slow ones."""
        busy = sum(each.is_busy and not each.is_slow for each in run)
        if busy and not self._finished:
            self._came.wait(SLOW)
        if busy > len(self._finished) > 0:
            time.sleep(_GROUP)

    def begin(self, ready: Sequence[Run]) -> None:
        assert self.threads is not None  # noqa: S101
        if self.slow:
            ready = [run for run in ready if not self.slow.put_aside(run)]
        self._ready.extend(ready)
        if self.slow.stuck >= TURN_THREADS:
            self._relieve()
            return
        for _ in ready[:TURN_THREADS]:
            self.threads.submit(self._run)

    def start_calls(self, run: Run) -> None:
        assert self._runner is not None  # noqa: S101
        with self._lock:
            calls = run.start_calls()
        self._runner.run_inline(calls, partial(self._start_call, run), partial(self._answer, run))

    def let_age(self, run: Iterable[Run]) -> int:
        """Delivers answers that have waited for others long enough, and parks executions whose
        calls are inline no more."""
        now = time.monotonic()
        aged: list[Run] = []
        slow: list[Run] = []
        for each in run:
            with self._lock:
                if each.is_busy:
                    if each.is_slow or self._has_become_slow(each, now):
                        slow.append(each)
                    continue
                each.is_slow = False
                age, silence = now - each.called_at, now - each.answered_at
                is_silent = silence > GATHER and not each.queued
                if each.answers and (is_silent or age > _GATHER_ALL):
                    pass
                elif self.is_draining or silence > _INLINE or age > _INLINE_ALL:
                    each.is_parking = True
                else:
                    continue
                each.is_busy = True
            aged.append(each)
        if slow or self.slow:
            self._make_way(slow)
        self.begin(aged)
        return len(aged)

    def _has_become_slow(self, run: Run, now: float) -> bool:
        since, lent = run.turn_since, run.lent
        if not since or now - since < SLOW:
            return False
        run.note_slow()
        if lent is not None and self._runner is not None:
            self._runner.replace_thread(lent)
        return True

    def _make_way(self, slow: Sequence[Run]) -> None:
        """Begins turns that wait behind slow ones, or for them to end."""
        for run in self.slow.note(slow):
            _start(partial(self._turn, run))
        ready = [self._ready.popleft() for _ in range(len(self._ready))]
        self._ready.extend(run for run in ready if not self.slow.put_aside(run))
        if self.slow.stuck:
            self._relieve()

    def _relieve(self) -> None:
        """Other threads than those that are stuck run the turns that are ready."""
        for _ in range(min(len(self._ready), max(TURN_THREADS, self.slow.stuck))):
            _start(self._run)

    def hand_over(self, run: Run) -> None:
        """What runs has a row now; its answer goes there."""
        with self._lock:
            late = {call.call_id for call, _answer in run.late}
            self._answers += [
                (call.claimed, answer) for call, answer in run.late if call.claimed is not None
            ]
            for call in run.calls:
                if call.claimed is not None and call.call_id not in late:
                    leases.hold(call.claimed, using=self.using)

    def withdraw(self, run: Run) -> None:
        """Nobody waits for its inline calls any more."""
        with self._lock:
            for call in run.calls:
                call.is_withdrawn = call.claimed is None

    # Turns

    def _run(self) -> None:
        """All that are ready: to hand each to a thread costs as much as a turn."""
        while True:
            try:
                run = self._ready.popleft()
            except IndexError:
                return
            if run.is_parking:
                self._park(run)
            else:
                self._turn(run)

    def _turn(self, run: Run, lent: threading.Thread | None = None) -> None:
        run.lent, run.turn_since = lent, time.monotonic()
        outcome: TurnResult | Faulted | None
        try:
            run.run_turn()
            outcome = self._ended(run)
            if outcome is None:
                return  # it goes on
            if host_is_to_blame(outcome):
                outcome = self._undone(run, first_fault(outcome))
        except Exception as exc:  # noqa: BLE001  (logged)
            if not isinstance(exc, DurableMontyError):
                log_execution(logging.ERROR, "turn failed", run.execution, exc, exc)
            outcome = self._undone(run, run.fault_of(exc))
        interpreter = None
        if isinstance(outcome, TurnResult) and outcome.is_last:
            interpreter, run.interpreter = run.interpreter, None
        self._end_turn(run)
        self._finish(run, outcome)
        if interpreter is not None:
            interpreter.close()

    def _end_turn(self, run: Run) -> None:
        run.end_turn()
        if self.slow.has_aside:
            self._wake()  # it may have waited for this

    def _undone(self, run: Run, fault: Faulted) -> TurnResult | Faulted:
        """What is to be kept although the last turn failed, if there is anything."""
        report(fault)
        with self._lock:
            run.is_parking = True
        try:
            run.close()
            if run.undo_turn():
                return run.outcome(holds=False)._replace(faulted=True)
        except Exception as exc:  # noqa: BLE001  (logged)
            log_execution(logging.ERROR, "turn failed", run.execution, exc, exc)
        return fault

    def _ended(self, run: Run) -> TurnResult | None:
        """What is to be committed; None, if the calls of the turn can be run at once."""
        can_hold = not self.is_draining and run.can_hold(self._inline_executors)
        if can_hold and not run.needs_commit:
            self._end_turn(run)
            self.start_calls(run)
            return None
        with self._lock:
            run.is_parking = not can_hold
        return run.outcome(holds=can_hold)

    def _park(self, run: Run) -> None:
        outcome: TurnResult | Faulted
        try:
            outcome = run.outcome(holds=False)
        except Exception as exc:  # noqa: BLE001  (logged)
            # Whatever happens, the execution must not be run for ever.
            log_execution(logging.ERROR, "turn failed", run.execution, exc, exc)
            outcome = run.fault_of(exc)
        self._finish(run, outcome)

    def _finish(self, run: Run, outcome: TurnResult | Faulted) -> None:
        self._finished.append((run, outcome))
        self._wake()

    def _wake(self) -> None:
        if not self._came.is_set():  # else the round that clears it sees this one too
            self._came.set()
            self._wake_worker()

    # Young calls, in the executor's threads

    def _start_call(self, run: Run, call: NewCall) -> bool:
        """Whether a call that waited for its thread is still to be run here."""
        with self._lock:
            if run.is_parking or call.is_withdrawn:
                return False
            call.started_at = self._estimate()
            run.queued -= 1
            return True

    def _answer(self, run: Run, call: NewCall, answer: Answer) -> None:
        with self._lock:
            if call.is_withdrawn:
                log_call(logging.WARNING, "answer refused", call, "it was withdrawn")
                return
            if call.claimed is not None:
                leases.release(call.claimed)
                self._answers.append((call.claimed, answer))
                self._wake_worker()
                return
            if run.is_parking or answer.result is None:
                # An error may be retried: that needs the row.
                run.late.append((call, answer))
                if run.is_parking or run.is_busy:
                    return
                run.is_parking = run.is_busy = True
            else:
                call.answer, call.finished_at = answer, self._estimate()
                del run.inline[call.call_id]
                run.answers[call.call_id] = Settled(answer.result)
                run.answered_at = time.monotonic()
                if run.is_busy or run.inline:
                    return
                run.is_busy = True
        if run.is_parking:
            self._park(run)
        elif not self.slow or not self.slow.put_aside(run):
            self._turn(run, threading.current_thread())

    def _estimate(self) -> datetime:
        """The database's time, without asking for it."""
        return self._now + timedelta(seconds=time.monotonic() - self._read_at)


def _start(run: Callable[[], None]) -> None:
    # A daemon: a turn that takes long must not keep the process from ending.
    threading.Thread(target=run, name="durable_monty-turn", daemon=True).start()
