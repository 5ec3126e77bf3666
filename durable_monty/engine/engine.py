"""The heart of a worker: claims, turns and commits, pipelined.

The worker's thread claims and commits; turns are run by a few threads, functions by those of the
executor. While all that an execution waits for is young calls, it stays with this worker: each
answer goes straight into the sandbox, and one transaction for all executions that are ready
writes the answers, the turns and what became of them. Before a call is run that depends on an
answer, that answer is committed.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial

from durable_monty import conf, operations
from durable_monty.engine.claims import Claims, claimed_at
from durable_monty.engine.held import Held
from durable_monty.engine.sessions import sessions
from durable_monty.exceptions import DurableMontyError
from durable_monty.executors.base import Executor
from durable_monty.executors.lease import leases
from durable_monty.models import Execution
from durable_monty.operations.advance import host_is_to_blame, steps_of
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.changes import Changes
from durable_monty.operations.commit import commit
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.outcomes import Advanced, Outcome, Parked
from durable_monty.sandbox import Interpreter, Settled

logger = logging.getLogger("durable_monty")

# Seconds without an answer, and in all, after which calls get their rows while they run.
YOUTH, _YOUTH_ALL = 0.1, 1.0
# An answer waits so long for the next of its execution, and at most so long for all of them, so
# that one turn takes them all...
_GATHER, _GATHER_ALL = 0.005, 0.5
# ... and finished turns for others, so that one commit does.
_GROUP = 0.001
# After a claim that left nothing, while executions are held, unless something is said to have
# become due.
_CLAIM_PAUSE = 0.1
_PATIENCE = 0.25

TURN_THREADS = 4  # more gain nothing on two cores: a turn waits for another process


class Engine:
    """`executor` runs the young calls, if it can. Its public methods are for one thread."""

    def __init__(self, executor: Executor, using: str) -> None:
        self.executor, self.using = executor, using
        self.worker_id: int | None = None
        self._young_of = executor.serves() if executor.runs_young else ()
        self._claims = Claims(using)
        self._held: dict[uuid.UUID, Held] = {}
        self._suspects: list[Execution] = []
        self._finished: deque[tuple[Held, Advanced | None]] = deque()
        self._came = threading.Event()
        self._lock = threading.Lock()
        self._answers: list[tuple[ClaimedCall, Answer]] = []
        self._threads: ThreadPoolExecutor | None = None
        self._ready: deque[Held] = deque()  # their turns are to be run
        self._claim_at = 0.0
        self._now, self._read_at = datetime.min, 0.0
        self.is_draining = False
        self.calls_came = False  # set when calls were written that an executor is to claim

    @property
    def is_idle(self) -> bool:
        return not self._held

    def take_answers(self) -> list[tuple[ClaimedCall, Answer]]:
        """Of calls that got their rows while they ran: for `settle_attempts`."""
        with self._lock:
            answers, self._answers = self._answers, []
        return answers

    def round(self, threads: ThreadPoolExecutor) -> bool:
        """Claims what is due, begins turns, and commits those that have ended; whether there was
        anything to do."""
        self._threads = threads
        self._came.clear()
        is_early = self._held and time.monotonic() < self._claim_at
        claimed = 0 if self.is_draining or is_early else self._claim()
        aged = self._let_age()
        committed = self._commit_finished()
        return bool(claimed or aged or committed or self._finished)

    def look_again(self) -> None:
        """Something may have become due."""
        self._claim_at = 0.0

    def drain(self, threads: ThreadPoolExecutor, timeout: float) -> None:
        """Parks all that is held; what its calls answer later is recorded as usual."""
        self.is_draining = True
        deadline = time.monotonic() + timeout
        while self._held and time.monotonic() < deadline:
            self.round(threads)
            self._came.wait(_GATHER)

    def abandon(self) -> None:
        """Leaves what is held to the leases."""
        for held in list(self._held.values()):
            self._drop(held)
        sessions.clear()

    # Claiming

    def _claim(self) -> int:
        settings = conf.current()
        room = max(1, settings.SANDBOX_PROCESSES // 2) - len(self._held)
        if self._suspects:
            if not self._held:
                # By itself, so that it takes no other with it; and the careful way.
                self._advance(self._suspects.pop())
                return 1
            return 0
        if room <= 0 or (self._held and 2 * room < settings.SANDBOX_PROCESSES // 2):
            return 0
        limit = min(room, settings.BATCH_SIZE)
        claimed = self._claims.take(limit, self.worker_id)
        if len(claimed) < limit:
            self._claim_at = time.monotonic() + _CLAIM_PAUSE
        if not claimed:
            return 0
        if any(execution.faults for execution in claimed):
            self._suspects += claimed
            return 1
        self._begin(claimed)
        return len(claimed)

    def _begin(self, claimed: Sequence[Execution]) -> None:
        live = {
            execution.pk: interpreter
            for execution in claimed
            if execution.turn
            and (interpreter := sessions.take(execution.pk, execution.turn)) is not None
        }
        parked: list[Outcome] = []
        begun: list[Held] = []
        for step in steps_of(claimed, self.using, live, claimed_at(claimed)):
            self._now, self._read_at = step.now, step.read_at
            if step.execution.turn and not step.answers:
                parked.append(Parked(step.execution))
                if step.interpreter is not None:
                    self._keep(step.execution, step.interpreter)
            else:
                held = self._held[step.execution.id] = Held.of(step)
                begun.append(held)
        self._submit(begun)
        if parked:
            commit(parked, using=self.using)

    def _advance(self, execution: Execution) -> None:
        assert self._threads is not None  # noqa: S101
        operations.advance_executions([execution], using=self.using, threads=self._threads)
        self.look_again()
        self.calls_came = True

    # Turns, in threads of their own

    def _submit(self, ready: Sequence[Held]) -> None:
        assert self._threads is not None  # noqa: S101
        self._ready.extend(ready)
        for _ in ready[:TURN_THREADS]:
            self._threads.submit(self._run_turns)

    def _run_turns(self) -> None:
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
        except Exception as exc:
            # Of the sandbox or its host: the careful way says what it is, and counts it.
            if not isinstance(exc, DurableMontyError):
                logger.exception("turn failed", extra={"execution": str(held.execution.id)})
        if outcome is None or host_is_to_blame(outcome):
            outcome = self._undone(held)
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
        self._close(held)
        return held.outcome(holds=False) if held.undo_turn() else None

    def _ended(self, held: Held) -> Advanced | None:
        """What is to be committed; None, if the calls of the turn can be run at once."""
        can_hold = not self.is_draining and held.can_hold(self._young_of)
        if can_hold and not held.needs_commit:
            self._start_young(held)
            return None
        with self._lock:
            held.is_parking = not can_hold
        return held.outcome(holds=can_hold)

    def _finish(self, held: Held, outcome: Advanced | None) -> None:
        self._finished.append((held, outcome))
        if not self._came.is_set():  # else the round that clears it sees this one too
            self._came.set()
            self.executor.wake()

    # Young calls, in the executor's threads

    def _start_young(self, held: Held) -> None:
        with self._lock:
            calls = held.start_young()
        self.executor.run_young(
            calls, partial(self._start_call, held), partial(self._answer, held)
        )

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
                logger.warning("answer refused", extra={"call": call.idempotency_key})
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

    def _park(self, held: Held) -> None:
        self._finish(held, held.outcome(holds=False))

    def _estimate(self) -> datetime:
        """The database's time, without asking for it."""
        return self._now + timedelta(seconds=time.monotonic() - self._read_at)

    # What takes long

    def _let_age(self) -> int:
        """Delivers answers that have waited for others long enough, and parks executions whose
        calls are young no more."""
        now = time.monotonic()
        aged: list[Held] = []
        for held in list(self._held.values()):
            with self._lock:
                if held.is_busy:
                    continue
                age, silence = now - held.young_since, now - held.answered_at
                is_silent = silence > _GATHER and not held.queued
                if held.answers and (is_silent or age > _GATHER_ALL):
                    pass
                elif self.is_draining or silence > YOUTH or age > _YOUTH_ALL:
                    held.is_parking = True
                else:
                    continue
                held.is_busy = True
            aged.append(held)
        self._submit(aged)
        return len(aged)

    # Committing

    def _commit_finished(self) -> int:
        self._wait_for_turns()
        batch: list[tuple[Held, Advanced | None]] = []
        for _ in range(len(self._finished)):
            held, outcome = self._finished.popleft()
            if self._is_held(held):
                batch.append((held, outcome))
            else:
                self._drop(held)
        batch.sort(key=lambda ended: ended[0].execution.id)  # the oldest first, as far as possible
        if done := [(held, outcome) for held, outcome in batch if outcome is not None]:
            self._commit(done)
        for held in [held for held, outcome in batch if outcome is None]:
            # Nothing has come of it since its claim: once more, the careful way.
            self._drop(held)
            self._advance(held.execution)
        return len(batch)

    def _is_held(self, held: Held) -> bool:
        """Not if its lease ran out, another worker went on, and this one has claimed it anew."""
        return self._held.get(held.execution.id) is held

    def _wait_for_turns(self) -> None:
        """For the first turn to end, and a little for others."""
        busy = sum(held.is_busy for held in self._held.values())
        if busy and not self._finished:
            self._came.wait(_PATIENCE)
        if busy > len(self._finished) > 0:
            time.sleep(_GROUP)

    def _commit(self, done: Sequence[tuple[Held, Advanced]]) -> None:
        try:
            written = commit([outcome for _held, outcome in done], using=self.using)
        except BaseException:
            for held, _outcome in done:
                self._drop(held)
            raise
        for held, outcome in done:
            self._go_on(held, outcome, written)

    def _go_on(self, held: Held, outcome: Advanced, written: Changes) -> None:
        changes = written.get(held.execution.id)
        if changes is None or changes.get("turn") != outcome.turn:
            self._drop(held)  # somebody else has it, or it was put off
        elif "claim" not in changes:
            held.committed(changes)
            self._start_young(held)
        else:
            del self._held[held.execution.id]
            if changes.get("due_at") is not None:
                self.look_again()
            self.calls_came |= any(call.answer is None for call in held.calls)
            self._hand_over(held)
            if outcome.is_last or held.interpreter is None:
                self._close(held)
            else:
                held.execution.turn = outcome.turn
                self._keep(held.execution, held.interpreter)

    def _hand_over(self, held: Held) -> None:
        """What runs has a row now; its answer goes there."""
        with self._lock:
            late = {call.call_id for call, _answer in held.late}
            self._answers += [
                (call.claimed, answer) for call, answer in held.late if call.claimed is not None
            ]
            for call in held.calls:
                if call.claimed is not None and call.call_id not in late:
                    leases.hold(call.claimed, using=self.using)

    def _drop(self, held: Held) -> None:
        if self._is_held(held):
            del self._held[held.execution.id]
        with self._lock:
            for call in held.calls:
                call.is_withdrawn = call.claimed is None
        self._close(held)

    def _close(self, held: Held) -> None:
        if held.interpreter is not None:
            held.interpreter.close()
            held.interpreter = None

    def _keep(self, execution: Execution, interpreter: Interpreter) -> None:
        limit = max(0, conf.current().SANDBOX_PROCESSES // 2 - 4)
        sessions.put(execution.pk, execution.turn, interpreter, limit)
