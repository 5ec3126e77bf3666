"""The work between two commits, in threads: turns, and the inline calls that they make."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable
from datetime import datetime
from functools import partial

from django.db import connections

from durable_monty.engine.run import SLOW_AFTER, LiveRun, State
from durable_monty.engine.threads import TurnThreads
from durable_monty.executors.group import InlineRunner
from durable_monty.executors.lease import leases
from durable_monty.models import clock
from durable_monty.operations.advance import first_fault, host_is_to_blame, report
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.commit import commit_at_once
from durable_monty.operations.log import log_call, log_execution, log_retry
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

# Turns after which an only call may go on in the thread of the one before. To commit there takes
# a connection of that thread, which is not worth it for a short workflow.
_CHAIN = 4

Ended = tuple[LiveRun, TurnResult | Faulted]


class Turns:
    """Runs turns in threads of its own, or in the executor's thread that an answer comes in.

    Its public methods are for the worker's thread. It sets `came` when there is something to do.
    """

    def __init__(self, runner: InlineRunner | None, came: threading.Event, using: str) -> None:
        self._runner, self._came, self.using = runner, came, using
        # Not `came`: a notification for each start would end every wait of a round.
        self._ended = threading.Event()
        self.is_draining = False
        self.is_alone = False  # one execution is in hand, and no other could share its commits
        self.threads = TurnThreads(self._turn)
        self._executors: Collection[str] = runner.serves() if runner else ()
        self.finished: deque[Ended] = deque()
        self._answers: deque[tuple[ClaimedCall, Answer]] = deque()
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

    def begin_round(self) -> None:
        """Lets `wait_for` wait for turns that end from now on."""
        self._ended.clear()

    def wait_for(self, runs: Iterable[LiveRun]) -> None:
        """Waits for the first turn to end, and a little for others, but not for slow ones."""
        busy = sum(run.state is not State.WAITING and not run.is_quiet for run in runs)
        if busy and not self.finished:
            self._ended.wait(SLOW_AFTER)
        if busy > len(self.finished) > 0:
            time.sleep(_GROUP)

    def start_calls(self, run: LiveRun) -> None:
        """Runs the calls of the last turn, once no commit has to come before them."""
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
                    age, silence = now - run.called_at, now - run.answered_at
                    is_silent = silence > GATHER and not run.queued
                    delivers = run.answers and (is_silent or age > _GATHER_ALL)
                    is_long = self.is_draining or silence > _INLINE or age > _INLINE_ALL
                    run.is_parking |= is_long and not delivers
                    if delivers or run.is_parking:
                        run.state = State.READY
                        ready.append(run)
                elif run.is_slow:
                    slow.append(run)
                elif run.becomes_slow(now):
                    slow.append(run)
                    if run.lent is not None and self._runner is not None:
                        self._runner.replace_thread(run.lent)
        if slow or self.threads.has_slow:
            self.threads.make_way(slow)
        self.threads.begin(ready)
        return len(ready)

    def hand_over(self, run: LiveRun) -> None:
        """Sends the answers of calls that still run to the rows that the calls have now."""
        with run.lock:
            for call, answer in run.late:
                if call.claimed is not None:
                    self._answers.append((call.claimed, answer))
            for call in run.inline.values():
                if call.claimed is not None:
                    leases.hold(call.claimed, using=self.using)

    def _turn(self, run: LiveRun, lent: threading.Thread | None = None) -> NewCall | None:
        """Runs a turn, or parks the execution. Returns the call that `lent`, a thread of the
        executor, runs next."""
        ended: TurnResult | Faulted
        if run.is_parking:
            try:
                ended = run.result()
            except Exception as exc:  # noqa: BLE001  (it is logged)
                # Whatever happens, the worker must not keep the execution for ever.
                ended = first_fault(run.failed_by(exc))
            self._finish(run, ended)
            return None
        run.begin_turn(lent)
        try:
            run.advance()
            holds = not self.is_draining and run.can_hold(self._executors)
            if holds and not run.needs_commit:
                self.start_calls(run)
                if self.threads.has_aside:
                    self._wake()
                return None
            with run.lock:
                run.is_parking = not holds
            ended = run.result(holds=holds)
            if self._commits_here(run, ended):
                return next(iter(run.start_calls()), None)
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
        return None

    def _commits_here(self, run: LiveRun, result: TurnResult) -> bool:
        """Commits in this thread, where the database can do it in one statement and no other
        execution would share the commit. Returns whether the run goes on.

        Two hops between threads are saved: to the worker's, and back to run the only call.
        """
        is_only = result.holds and sum(call.answer is None for call in run.calls) == 1
        if not (is_only and self.is_alone and run.lent and run.turn >= _CHAIN):
            return False
        run.leave(State.COMMITTING)
        try:
            changes = commit_at_once(result, using=self.using).get(run.execution.id)
        except Exception as exc:  # noqa: BLE001  (the worker's thread commits on its connection)
            # A function may have changed the session of this connection.
            connections[self.using].close()
            log_retry([result], exc)
            run.is_doubtful = True
            return False
        if changes is None:
            return False  # the execution has a request, or another worker has claimed it
        run.committed(changes)
        return True

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

    def _finish(self, run: LiveRun, ended: TurnResult | Faulted) -> None:
        run.leave(State.ENDED)
        self.finished.append((run, ended))
        self._wake()

    def _wake(self) -> None:
        if not self._ended.is_set():  # else the round that clears it sees this one, too
            self._ended.set()
            self._came.set()

    # Inline calls, in the executor's threads

    def _start_call(self, run: LiveRun, call: NewCall) -> bool:
        """Returns whether a call that waited for its thread is still to be run here."""
        with run.lock:
            if run.is_parking or call.is_withdrawn:
                return False
            call.started_at = self._estimate()
            run.queued -= 1
            return True

    def _answer(self, run: LiveRun, call: NewCall, answer: Answer) -> NewCall | None:
        with run.lock:
            if call.is_withdrawn:
                log_call(logging.WARNING, "answer refused", call, "it was withdrawn")
                return None
            del run.inline[call.call_id]
            if call.claimed is not None:
                leases.release(call.claimed)
                self._answers.append((call.claimed, answer))
                self._came.set()
                return None
            if run.is_parking or answer.result is None:
                # An error may be retried, and that needs the row.
                run.late.append((call, answer))
                if run.is_parking or run.state is not State.WAITING:
                    return None
                run.is_parking = True
            else:
                call.answer, call.finished_at = answer, self._estimate()
                run.answers[call.call_id] = Settled(answer.result)
                run.answered_at = time.monotonic()
                if run.inline or run.state is not State.WAITING:
                    return None
            run.state = State.READY
        is_aside = self.threads.put_aside(run)
        return None if is_aside else self._turn(run, threading.current_thread())

    def _estimate(self) -> datetime:
        """Returns the database's time, without a query."""
        return self._now + clock.elapsed(self._read_at)
