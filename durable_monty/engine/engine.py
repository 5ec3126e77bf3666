"""The heart of a worker: claims, turns and commits, pipelined.

The worker's thread claims and commits; turns are run by a few threads, functions by those of the
executor. While all that an execution waits for is young calls, it stays with this worker: each
answer goes straight into the sandbox, and one transaction for all executions that are ready
writes the answers, the turns and what became of them. Before a call is run that depends on an
answer, that answer is committed.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from durable_monty import conf, operations
from durable_monty.engine.claims import Claims, claimed_at
from durable_monty.engine.held import Held
from durable_monty.engine.sessions import sessions
from durable_monty.engine.turns import GATHER, Turns
from durable_monty.executors.base import Executor
from durable_monty.models import Execution
from durable_monty.operations.advance import steps_of
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.changes import Changes
from durable_monty.operations.commit import commit
from durable_monty.operations.log import log_execution
from durable_monty.operations.outcomes import Advanced, Outcome, Parked
from durable_monty.sandbox import Interpreter

# Seconds after a claim that left nothing, while executions are held, unless something is said to
# have become due.
_CLAIM_PAUSE = 0.1


class Engine:
    """`executor` runs the young calls, if it can. Its public methods are for one thread."""

    def __init__(self, executor: Executor, using: str) -> None:
        self.using = using
        self.worker_id: int | None = None
        self._turns = Turns(executor, using)
        self._claims = Claims(using)
        self._held: dict[uuid.UUID, Held] = {}
        self._suspects: list[Execution] = []
        self._claim_at = 0.0
        self.calls_came = False  # set when calls were written that an executor is to claim

    def start(self, worker_id: int | None) -> None:
        self.worker_id, self._turns.is_draining = worker_id, False

    @property
    def is_idle(self) -> bool:
        return not self._held

    def take_answers(self) -> list[tuple[ClaimedCall, Answer]]:
        """Of calls that got their rows while they ran: for `settle_attempts`."""
        return self._turns.take_answers()

    def round(self, threads: ThreadPoolExecutor) -> bool:
        """Claims what is due, begins turns, and commits those that have ended; whether there was
        anything to do."""
        self._turns.threads = threads
        self._turns.expect()
        is_early = self._held and time.monotonic() < self._claim_at
        claimed = 0 if self._turns.is_draining or is_early else self._claim()
        aged = self._turns.let_age(self._held.values())
        committed = self._commit_finished()
        return bool(claimed or aged or committed or self._turns.has_finished)

    def look_again(self) -> None:
        """Something may have become due."""
        self._claim_at = 0.0

    def drain(self, threads: ThreadPoolExecutor, timeout: float) -> None:
        """Parks all that is held; what its calls answer later is recorded as usual."""
        self._turns.is_draining = True
        deadline = time.monotonic() + timeout
        while self._held and time.monotonic() < deadline:
            self.round(threads)
            self._turns.wait(GATHER)

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
        try:
            steps = steps_of(claimed, self.using, live, claimed_at(claimed))
        except BaseException:
            for interpreter in live.values():
                interpreter.close()
            raise
        for step in steps:
            self._turns.note_time(step.now, step.read_at)
            if step.execution.turn and not step.answers:
                parked.append(Parked(step.execution))
                if step.interpreter is not None:
                    self._keep(step.execution, step.interpreter)
            else:
                held = self._held[step.execution.id] = Held.of(step)
                begun.append(held)
        self._turns.begin(begun)
        if parked:
            commit(parked, using=self.using)

    def _advance(self, execution: Execution) -> None:
        assert self._turns.threads is not None  # noqa: S101
        operations.advance_executions([execution], using=self.using, threads=self._turns.threads)
        self.look_again()
        self.calls_came = True

    # Committing

    def _commit_finished(self) -> int:
        self._turns.wait_for(self._held.values())
        batch: list[tuple[Held, Advanced | None]] = []
        for held, outcome in self._turns.take_finished():
            if self._is_held(held):
                batch.append((held, outcome))
            else:
                self._drop(held)
        batch.sort(key=lambda ended: ended[0].execution.id)  # the oldest first, as far as possible
        done = [(held, outcome) for held, outcome in batch if outcome is not None]
        failed = [held for held, outcome in batch if outcome is None]
        try:
            if done:
                self._commit(done)
        finally:
            for held in failed:
                self._drop(held)
        for held in failed:
            # Nothing has come of it since its claim: once more, the careful way.
            self._advance(held.execution)
        return len(batch)

    def _is_held(self, held: Held) -> bool:
        """Not if its lease ran out, another worker went on, and this one has claimed it anew."""
        return self._held.get(held.execution.id) is held

    def _commit(self, done: Sequence[tuple[Held, Advanced]]) -> None:
        try:
            written = commit([outcome for _held, outcome in done], using=self.using)
        except BaseException:
            for held, _outcome in done:
                self._drop(held)
            raise
        for held, outcome in done:
            try:
                self._go_on(held, outcome, written)
            except Exception as exc:  # noqa: BLE001  (logged)
                # The others go on; this one is left to its lease.
                log_execution(
                    logging.ERROR, "execution left to its lease", held.execution, exc, exc
                )
                self._drop(held)

    def _go_on(self, held: Held, outcome: Advanced, written: Changes) -> None:
        changes = written.get(held.execution.id)
        if changes is None or changes.get("turn") != outcome.turn:
            self._drop(held)  # somebody else has it, or it was put off
        elif "claim" not in changes:
            held.committed(changes)
            self._turns.start_young(held)
        else:
            del self._held[held.execution.id]
            if changes.get("due_at") is not None:
                self.look_again()
            self.calls_came |= any(call.answer is None for call in held.calls)
            self._turns.hand_over(held)
            if outcome.is_last or held.interpreter is None:
                held.close()
            else:
                held.execution.turn = outcome.turn
                self._keep(held.execution, held.interpreter)

    def _drop(self, held: Held) -> None:
        if self._is_held(held):
            del self._held[held.execution.id]
        self._turns.withdraw(held)
        held.close()

    def _keep(self, execution: Execution, interpreter: Interpreter) -> None:
        limit = max(0, conf.current().SANDBOX_PROCESSES // 2 - 4)
        sessions.put(execution.pk, execution.turn, interpreter, limit)
