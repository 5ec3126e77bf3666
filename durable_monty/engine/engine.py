"""The heart of a worker: claims, turns and commits, pipelined.

The worker's thread claims and commits; turns are run by a few threads, functions by those of the
executor. While all that an execution waits for is inline calls, it stays with this worker: each
answer goes straight into the sandbox, and one transaction for all executions that are ready
writes the answers, the turns and what became of them. Before a call is run that depends on an
answer, that answer is committed.

No turn, replay or dump is run in the worker's thread, and what takes long is not waited for: it
has threads beside those of the others. An execution whose run failed for reasons of the host is
put back, and runs again in the slow lane.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from django.db import Error

from durable_monty import conf, operations
from durable_monty.engine.claims import Claims, claimed_at
from durable_monty.engine.interpreters import interpreters
from durable_monty.engine.lane import SlowLane
from durable_monty.engine.run import Run
from durable_monty.engine.turns import GATHER, Turns
from durable_monty.executors.inline_runner import InlineRunner
from durable_monty.models import Execution
from durable_monty.operations.advance import report
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.commit import commit
from durable_monty.operations.log import log_execution
from durable_monty.operations.outcomes import Faulted, Outcome, Parked, TurnResult
from durable_monty.operations.transitions import Changes
from durable_monty.operations.turn_input import turn_inputs
from durable_monty.sandbox import Interpreter, trim

logger = logging.getLogger("durable_monty")

# Seconds after a claim that left nothing, while executions are run, unless something is said to
# have become due.
_CLAIM_PAUSE = 0.1


class Engine:
    """Its public methods are for one thread, the worker's; it calls `wake` from others when there
    is something to do. Without a `runner` all calls get their rows before they run."""

    def __init__(self, runner: InlineRunner | None, wake: Callable[[], None], using: str) -> None:
        self.using = using
        self.worker_id: int | None = None
        self._turns = Turns(runner, wake, using)
        self._claims = Claims(using)
        self._lane = SlowLane(wake, using)
        self._held: dict[uuid.UUID, Run] = {}
        self._claim_at, self._renew_at = 0.0, 0.0
        self.calls_came = False  # set when calls were written that an executor is to claim

    def start(self, worker_id: int | None) -> None:
        self.worker_id, self._turns.is_draining = worker_id, False

    @property
    def is_idle(self) -> bool:
        return not self._held and not self._lane.claimed

    @property
    def is_quiet(self) -> bool:
        """Whether nothing runs but what takes long, and tells of its end."""
        return all(run.is_slow for run in self._held.values())

    def take_answers(self) -> list[tuple[ClaimedCall, Answer]]:
        """Of calls that got their rows while they ran: for `settle_attempts`."""
        return self._turns.take_answers()

    def round(self, threads: ThreadPoolExecutor) -> bool:
        """Claims what is due, begins turns, and commits those that have ended; whether there was
        anything to do."""
        self._turns.threads = threads
        self._turns.expect()
        is_early = self._held and time.monotonic() < self._claim_at
        claimed = 0
        if not self._turns.is_draining:
            claimed = self._claim_lost() + (0 if is_early else self._claim())
        aged = self._turns.let_age(self._held.values())
        committed = self._commit_lane() + self._commit_finished()
        self._renew()
        return bool(claimed or aged or committed or self._turns.has_finished)

    def wake(self) -> None:
        """Something may have become due."""
        self._claim_at = 0.0

    def drain(self, threads: ThreadPoolExecutor, timeout: float) -> None:
        """Parks all that is run; what its calls answer later is recorded as usual."""
        self._turns.is_draining = True
        self._leave(self._turns.slow.take_aside())
        deadline = time.monotonic() + timeout
        while not self.is_idle and time.monotonic() < deadline:
            self.round(threads)
            self._turns.wait(GATHER)

    def give_back(self) -> None:
        """Leaves what it could not park to other workers, at once."""
        self._leave(list(self._held.values()), self._lane.claimed)
        self.abandon()

    def _leave(self, given_up: Sequence[Run], others: Sequence[Execution] = ()) -> None:
        left = [run.execution for run in given_up] + [*others]
        for run in given_up:
            self._drop(run)
        if not left:
            return
        try:
            operations.give_back_executions(left, using=self.using)
        except Error as exc:
            logger.warning("executions left to their leases: %s", exc)

    def abandon(self) -> None:
        """Leaves what is run to the leases."""
        for run in list(self._held.values()):
            self._drop(run)
        self._lane.clear()
        interpreters.clear()

    # Claiming

    def _claim(self) -> int:
        settings = conf.current()
        most = max(1, settings.SANDBOX_PROCESSES // 2)
        # Slow ones take the place of interpreters that are kept, not of others.
        slow = min(sum(run.is_slow for run in self._held.values()), _kept_at_most())
        if slow:
            interpreters.trim(_kept_at_most() - slow)
        room = most + slow - len(self._held)
        if room <= 0 or (self._held and 2 * room < most):
            return 0
        limit = min(room, settings.BATCH_SIZE)
        claimed = self._claims.take(limit, self.worker_id)
        if len(claimed) < limit:
            self._claim_at = time.monotonic() + _CLAIM_PAUSE
        if claimed:
            self._begin(claimed)
        return len(claimed)

    def _claim_lost(self) -> int:
        if not self._lane.has_room:
            return 0
        suspect = self._claims.take_lost(self.worker_id)
        if suspect is not None:
            self._lane.begin(suspect)
        return int(suspect is not None)

    def _renew(self) -> None:
        """Keeps the claims on executions whose turns take long, or wait for others that do, and
        ends sandbox processes that nobody needs."""
        term, now = conf.current().LEASE / 3, time.monotonic()
        if now < self._renew_at:
            return
        self._renew_at = now + term
        interpreters.end_idle()
        trim()
        kept = [run.execution for run in self._held.values() if run.since < now - term]
        kept += self._lane.claimed
        if kept:
            operations.renew_executions(kept, using=self.using)

    def _begin(self, claimed: Sequence[Execution]) -> None:
        live = {
            execution.pk: interpreter
            for execution in claimed
            if execution.turn
            and (interpreter := interpreters.take(execution.pk, execution.turn)) is not None
        }
        parked: list[Outcome] = []
        begun: list[Run] = []
        try:
            steps = turn_inputs(claimed, self.using, live, claimed_at(claimed))
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
            elif step.needs_care:
                self._lane.begin(step.execution)
            else:
                run = self._held[step.execution.id] = Run.of(step)
                begun.append(run)
        self._turns.begin(begun)
        if parked:
            commit(parked, using=self.using)

    # Committing

    def _commit_finished(self) -> int:
        self._turns.wait_for(self._held.values())
        batch: list[tuple[Run, TurnResult]] = []
        faults: list[Faulted] = []
        for run, outcome in self._turns.take_finished():
            if not self._is_held(run):
                self._drop(run)
                continue
            if isinstance(outcome, TurnResult):
                batch.append((run, outcome))
            else:
                # Nothing has come of it since its claim.
                self._drop(run)
                faults.append(outcome)
        batch.sort(key=lambda ended: ended[0].execution.id)  # the oldest first, as far as possible
        try:
            if batch:
                self._commit(batch)
        finally:
            if faults:
                commit(faults, using=self.using)
                self.wake()
        return len(batch) + len(faults)

    def _commit_lane(self) -> int:
        ended = self._lane.take_ended()
        outcomes = [outcome for _execution, outcome in ended if outcome is not None]
        for outcome in outcomes:
            report(outcome)
        if unread := [execution for execution, outcome in ended if outcome is None]:
            operations.give_back_executions(unread, using=self.using)
        if outcomes:
            commit(outcomes, using=self.using)
            self.wake()
            self.calls_came = True
        return len(ended)

    def _is_held(self, run: Run) -> bool:
        """Not if its lease ran out, another worker went on, and this one has claimed it anew."""
        return self._held.get(run.execution.id) is run

    def _commit(self, done: Sequence[tuple[Run, TurnResult]]) -> None:
        try:
            written = commit([outcome for _held, outcome in done], using=self.using)
        except BaseException:
            for run, _outcome in done:
                self._drop(run)
            raise
        for run, outcome in done:
            try:
                self._go_on(run, outcome, written)
            except Exception as exc:  # noqa: BLE001  (logged)
                # The others go on; this one is left to its lease.
                log_execution(
                    logging.ERROR, "execution left to its lease", run.execution, exc, exc
                )
                self._drop(run)

    def _go_on(self, run: Run, outcome: TurnResult, written: Changes) -> None:
        changes = written.get(run.execution.id)
        if changes is None or changes.get("turn") != outcome.turn:
            self._drop(run)  # somebody else has it, or it was put off
        elif "claim" not in changes:
            run.committed(changes)
            self._turns.start_calls(run)
        else:
            del self._held[run.execution.id]
            if changes.get("due_at") is not None:
                self.wake()
            self.calls_came |= any(call.answer is None for call in run.calls)
            self._turns.hand_over(run)
            if outcome.is_last or run.interpreter is None:
                run.close()
            else:
                run.execution.turn = outcome.turn
                self._keep(run.execution, run.interpreter)

    def _drop(self, run: Run) -> None:
        if self._is_held(run):
            del self._held[run.execution.id]
        self._turns.withdraw(run)
        run.drop()

    def _keep(self, execution: Execution, interpreter: Interpreter) -> None:
        interpreters.put(execution.pk, execution.turn, interpreter, _kept_at_most())


def _kept_at_most() -> int:
    """How many interpreters of executions that wait: half of the processes, but for a few that the
    slow lane and checks need."""
    return max(0, conf.current().SANDBOX_PROCESSES // 2 - 4)
