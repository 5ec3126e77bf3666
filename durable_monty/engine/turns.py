"""The work between two commits, in threads: turns, and the inline calls that they make."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial

from durable_monty.engine.run import SLOW_AFTER, LiveRun, State
from durable_monty.engine.slow import SlowTurns
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
# Each turn is a commit. So an answer waits for the next one of its execution, and at most so long
# for all of them...
GATHER, _GATHER_ALL = 0.005, 0.5
# ... and turns that have ended wait for others, to share one.
_GROUP = 0.001

_NAME, _TURN_THREADS = (
    "durable_monty-turn",
    4,
)  # more gain nothing on two cores: a turn waits for another process

Ended = tuple[LiveRun, TurnResult | Faulted]


class Turns:
    """Runs turns in threads of its own, or in the executor's thread that an answer comes in.

    Its public methods are for the worker's thread.
    """

    def __init__(self, runner: InlineRunner | None, wake: Callable[[], None], using: str) -> None:
        self._runner, self._wake_worker, self.using = runner, wake, using
        self._threads: ThreadPoolExecutor | None = None
        self.is_draining = False
        self.slow = SlowTurns()
        self._executors: Collection[str] = runner.serves() if runner else ()
        self._ready: deque[LiveRun] = deque()
        self.finished: deque[Ended] = deque()
        self._answers: deque[tuple[ClaimedCall, Answer]] = deque()
        self._came = threading.Event()
        self._now, self._read_at = datetime.min, 0.0

    def take_finished(self) -> list[Ended]:
        """Returns the runs that are to be committed."""
        return [self.finished.popleft() for _ in range(len(self.finished))]

    def take_answers(self) -> list[tuple[ClaimedCall, Answer]]:
        """Returns the answers of calls that got their rows while they ran."""
        return [self._answers.popleft() for _ in range(len(self._answers))]

    def note_time(self, now: datetime, read_at: float) -> None:
        """Notes the database's time, and the monotonic clock's when it was read."""
        self._now, self._read_at = now, read_at

    def expect(self) -> None:
        """Lets `wait` return for turns that end from now on."""
        self._came.clear()

    def wait(self, seconds: float) -> None:
        self._came.wait(seconds)

    def wait_for(self, runs: Iterable[LiveRun]) -> None:
        """Waits for the first turn to end, and a little for others, but not for slow ones."""
        busy = sum(run.state is not State.WAITING and not run.is_slow for run in runs)
        if busy and not self.finished:
            self._came.wait(SLOW_AFTER)
        if busy > len(self.finished) > 0:
            time.sleep(_GROUP)

    def begin(self, ready: Sequence[LiveRun]) -> None:
        """Runs the turns of these, or parks them."""
        if self.slow:
            ready = [run for run in ready if not self.slow.put_aside(run)]
        self._ready.extend(ready)
        if self.slow.stuck >= _TURN_THREADS:
            self._relieve()
            return
        for _ in ready[:_TURN_THREADS]:
            self._threads = self._threads or ThreadPoolExecutor(_TURN_THREADS, _NAME)
            self._threads.submit(self._work)

    def close(self) -> None:
        """Ends the threads, when their turns have ended. They start again with the next turn."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown()

    def start_calls(self, run: LiveRun) -> None:
        """Runs the calls of the last turn, which nothing needs to be committed for any more."""
        assert self._runner is not None  # noqa: S101
        calls = run.start_calls()
        self._runner.run_inline(calls, partial(self._start_call, run), partial(self._answer, run))

    def end_waits(self, runs: Iterable[LiveRun]) -> int:
        """Delivers answers that have waited for others long enough, and parks executions whose
        calls take too long to be run inline. Returns their number."""
        now = time.monotonic()
        ready: list[LiveRun] = []
        slow: list[LiveRun] = []
        for run in runs:
            with run.lock:
                if run.state is State.WAITING:
                    if self._ends_wait(run, now):
                        run.state = State.READY
                        ready.append(run)
                elif run.is_slow:
                    slow.append(run)
                elif run.becomes_slow(now):
                    slow.append(run)
                    if run.lent is not None and self._runner is not None:
                        self._runner.replace_thread(run.lent)
        if slow or self.slow:
            self._make_way(slow)
        self.begin(ready)
        return len(ready)

    def _ends_wait(self, run: LiveRun, now: float) -> bool:
        age, silence = now - run.called_at, now - run.answered_at
        is_silent = silence > GATHER and not run.queued
        if run.answers and (is_silent or age > _GATHER_ALL):
            return True
        if self.is_draining or silence > _INLINE or age > _INLINE_ALL:
            run.is_parking = True
        return run.is_parking

    def _make_way(self, slow: Sequence[LiveRun]) -> None:
        """Begins turns that wait behind slow ones, or for them to end."""
        for run in self.slow.note(slow):
            _start(partial(self._turn, run))
        ready = [self._ready.popleft() for _ in range(len(self._ready))]
        self._ready.extend(run for run in ready if not self.slow.put_aside(run))
        if self.slow.stuck:
            self._relieve()

    def _relieve(self) -> None:
        """Runs the turns that are ready in other threads than those that are stuck."""
        for _ in range(min(len(self._ready), max(_TURN_THREADS, self.slow.stuck))):
            _start(self._work)

    def hand_over(self, run: LiveRun) -> None:
        """Lets the answers of calls that run go to the rows that these have now."""
        with run.lock:
            for call, answer in run.late:
                if call.claimed is not None:
                    self._answers.append((call.claimed, answer))
            for call in run.inline.values():
                if call.claimed is not None:
                    leases.hold(call.claimed, using=self.using)

    # Turns

    def _work(self) -> None:
        """Runs all turns that are ready: to give each to a thread costs as much as a turn."""
        while True:
            try:
                run = self._ready.popleft()
            except IndexError:
                return
            if run.is_parking:
                self._park(run)
            else:
                self._turn(run)

    def _turn(self, run: LiveRun, lent: threading.Thread | None = None) -> None:
        run.begin_turn(lent)
        ended: TurnResult | Faulted
        try:
            run.advance()
            holds = not self.is_draining and run.can_hold(self._executors)
            if holds and not run.needs_commit:
                self.start_calls(run)
                self._wake_those_aside()
                return
            with run.lock:
                run.is_parking = not holds
            ended = run.result(holds=holds)
            if host_is_to_blame(ended):
                ended = self._undone(run, first_fault(ended))
        except Exception as exc:  # noqa: BLE001  (it is logged)
            ended = self._undone(run, first_fault(run.failed_by(exc)))
        interpreter = None
        if isinstance(ended, TurnResult) and ended.is_last:
            interpreter, run.interpreter = run.interpreter, None
        self._finish(run, ended)
        if interpreter is not None:
            interpreter.close()

    def _undone(self, run: LiveRun, fault: Faulted) -> TurnResult | Faulted:
        """Returns what is to be kept although the last turn failed, or the fault."""
        report(fault)
        with run.lock:
            run.is_parking = True
        try:
            run.close()
            if run.undo_turn():
                return run.result()._replace(faulted=True)
        except Exception as exc:  # noqa: BLE001  (it is logged)
            log_execution(logging.ERROR, "turn failed", run.execution, exc, exc)
        return fault

    def _park(self, run: LiveRun) -> None:
        ended: TurnResult | Faulted
        try:
            ended = run.result()
        except Exception as exc:  # noqa: BLE001  (it is logged)
            # Whatever happens, the worker must not keep the execution for ever.
            ended = first_fault(run.failed_by(exc))
        self._finish(run, ended)

    def _finish(self, run: LiveRun, ended: TurnResult | Faulted) -> None:
        run.leave(State.ENDED)
        self.finished.append((run, ended))
        self._wake()

    def _wake_those_aside(self) -> None:
        if self.slow.has_aside:
            self._wake()

    def _wake(self) -> None:
        if not self._came.is_set():  # else the round that clears it sees this one too
            self._came.set()
            self._wake_worker()

    # Inline calls, in the executor's threads

    def _start_call(self, run: LiveRun, call: NewCall) -> bool:
        """Returns whether a call that waited for its thread is still to be run here."""
        with run.lock:
            if run.is_parking or call.is_withdrawn:
                return False
            call.started_at = self._estimate()
            run.queued -= 1
            return True

    def _answer(self, run: LiveRun, call: NewCall, answer: Answer) -> None:
        with run.lock:
            if call.is_withdrawn:
                log_call(logging.WARNING, "answer refused", call, "it was withdrawn")
                return
            del run.inline[call.call_id]
            if call.claimed is not None:
                leases.release(call.claimed)
                self._answers.append((call.claimed, answer))
                self._wake_worker()
                return
            if run.is_parking or answer.result is None:
                # An error may be retried, and that needs the row.
                run.late.append((call, answer))
                if run.is_parking or run.state is not State.WAITING:
                    return
                run.is_parking = True
            else:
                call.answer, call.finished_at = answer, self._estimate()
                run.answers[call.call_id] = Settled(answer.result)
                run.answered_at = time.monotonic()
                if run.inline or run.state is not State.WAITING:
                    return
            run.state = State.READY
        if run.is_parking:
            self._park(run)
        elif not self.slow or not self.slow.put_aside(run):
            self._turn(run, threading.current_thread())

    def _estimate(self) -> datetime:
        """Returns the database's time, without a query."""
        return self._now + timedelta(seconds=time.monotonic() - self._read_at)


def _start(work: Callable[[], None]) -> None:
    # A daemon: a turn that takes long must not keep the process from ending.
    threading.Thread(target=work, name=_NAME, daemon=True).start()
