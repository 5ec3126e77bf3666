"""The engine of a worker: it claims executions, runs their turns and commits them, pipelined.

The worker's thread claims and commits; a few other threads run turns, and those of the executor
run functions. While an execution waits only for inline calls, it stays with this worker: each
answer goes straight into the sandbox, and one transaction writes the answers and turns of all
executions that are ready. An answer is committed before any call that depends on it is run.

The worker's thread runs no turn, replay or dump, and waits for none that takes long. An execution
whose run failed for reasons of the host is put back, and runs again in the slow lane.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections.abc import Sequence

from django.db import Error

from durable_monty import conf, operations
from durable_monty.engine.blocked import BLOCKED_PAUSE, Blocked
from durable_monty.engine.claims import Claims
from durable_monty.engine.interpreters import interpreters
from durable_monty.engine.lane import SlowLane
from durable_monty.engine.run import LiveRun, State
from durable_monty.engine.turns import GATHER, Turns
from durable_monty.executors.group import InlineRunner
from durable_monty.models import Execution
from durable_monty.operations.advance import report
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.commit import commit
from durable_monty.operations.log import log_execution
from durable_monty.operations.outcomes import Faulted, Outcome, Parked, TurnResult
from durable_monty.operations.transitions import Changes
from durable_monty.operations.turn_input import turn_inputs
from durable_monty.sandbox import Interpreter, has_spare, trim

logger = logging.getLogger("durable_monty")

# Seconds between attempts to end sandbox processes that are not used.
TIDY_INTERVAL = 5.0
# Seconds without a claim after one that found too few, while the engine has executions and `wake`
# is not called.
_CLAIM_PAUSE = 0.1


class Engine:
    """Advances the executions that a worker has claimed.

    Its public methods are for the worker's thread, which clears `came` before a round. Others set
    it when there is something to do. Without a `runner` all calls get their rows before they run.
    """

    def __init__(self, runner: InlineRunner | None, came: threading.Event, using: str) -> None:
        self._came, self.using = came, using
        self.worker_id: int | None = None
        self.calls_came = False  # set when calls were written that an executor is to claim
        self._turns = Turns(runner, came, using)
        self._claims = Claims(using)
        self._lane = SlowLane(came.set, using)
        self._runs: dict[uuid.UUID, LiveRun] = {}
        self._blocked = Blocked[tuple[LiveRun, TurnResult]]()
        self._blocked_others = Blocked[Outcome]()  # of executions that are not kept
        self._claim_at = self._renew_at = self._tidy_at = 0.0

    def start(self, worker_id: int | None) -> None:
        self.worker_id, self._turns.is_draining = worker_id, False

    @property
    def is_idle(self) -> bool:
        return not self._runs and not self._lane.claimed and not self._blocked_others

    @property
    def is_quiet(self) -> bool:
        """Whether no turn is waited for. A slow one wakes the worker when it ends."""
        return all(run.is_quiet for run in self._runs.values())

    @property
    def longest_pause(self) -> float:
        """The seconds until the next round, which writes what was blocked or ends processes."""
        if self._blocked or self._blocked_others:
            return BLOCKED_PAUSE
        return TIDY_INTERVAL if interpreters or has_spare() else math.inf

    def take_answers(self) -> list[tuple[ClaimedCall, Answer]]:
        """Returns the answers of calls that got their rows while they ran."""
        return self._turns.take_answers()

    def round(self, *, everything: bool = False) -> bool:
        """Claims due executions, begins turns, and commits those that have ended. Returns whether
        there was anything to do. `everything` queries for lost executions in any case."""
        self._turns.begin_round()
        claimed = 0 if self._turns.is_draining else self._claim(everything)
        self._turns.is_alone = len(self._runs) == 1 and not self._lane.claimed
        moved = self._turns.end_waits(self._runs.values())
        committed = self._commit_ended()
        term, now = conf.current().LEASE / 3, time.monotonic()
        if now >= self._renew_at:
            self._renew_at = now + term
            # Their turns take long, or wait for slow ones.
            kept = [run.execution for run in self._runs.values() if run.claimed_at < now - term]
            kept += self._lane.claimed + [each.execution for each in self._blocked_others]
            if kept:
                operations.renew_executions(kept, using=self.using)
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY_INTERVAL
            interpreters.end_idle()
            trim()
        return bool(claimed or moved or committed or self._turns.finished)

    def wake(self) -> None:
        """Lets the next round claim: something may have become due. Any thread may call it."""
        self._claim_at = 0.0

    def drain(self, timeout: float) -> None:
        """Parks all executions. Later answers of their calls go to the rows of the calls."""
        self._turns.is_draining = True
        self._leave(self._turns.threads.take_aside())
        deadline = time.monotonic() + timeout
        while not self.is_idle and time.monotonic() < deadline:
            self._came.clear()
            self.round()
            self._came.wait(GATHER)

    def give_back(self) -> None:
        """Releases the executions that could not be parked, so that other workers claim them."""
        others = self._lane.claimed + [each.execution for each in self._blocked_others]
        self._leave(list(self._runs.values()), others)
        self.abandon()

    def abandon(self) -> None:
        """Drops all executions; other workers claim them when the leases have run out."""
        for run in list(self._runs.values()):
            self._drop(run)
        self._lane.clear()
        self._blocked.clear()
        self._blocked_others.clear()
        interpreters.clear()
        self._turns.threads.close()

    def _leave(self, runs: Sequence[LiveRun], others: Sequence[Execution] = ()) -> None:
        left = [run.execution for run in runs] + [*others]
        for run in runs:
            self._drop(run)
        try:
            if left:
                operations.give_back_executions(left, using=self.using)
        except Error as exc:
            logger.warning("executions left to their leases: %s", exc)

    def _drop(self, run: LiveRun) -> None:
        if self._is_ours(run):
            del self._runs[run.execution.id]
        run.drop()

    def _is_ours(self, run: LiveRun) -> bool:
        """Returns False after another worker had the execution, and this one claimed it anew."""
        return self._runs.get(run.execution.id) is run

    def _claim(self, everything: bool) -> int:
        """Claims executions and begins their turns. Returns how many."""
        is_early, lost = self._runs and time.monotonic() < self._claim_at, None
        if self._lane.has_room:
            lost = self._claims.take_lost(self.worker_id, now=everything)
            if lost is not None:
                self._lane.begin(lost)
        if is_early:
            return int(lost is not None)
        settings = conf.current()
        most = max(1, settings.SANDBOX_PROCESSES // 2)
        # They take the sandboxes of executions that wait, not those of other turns.
        quiet = min(sum(run.is_quiet for run in self._runs.values()), _kept_at_most())
        if quiet:
            interpreters.trim(_kept_at_most() - quiet)
        room = most + quiet - len(self._runs)
        if room <= 0 or (self._runs and 2 * room < most):
            return int(lost is not None)
        limit = min(room, settings.BATCH_SIZE)
        claimed = self._claims.take(limit, self.worker_id)
        if len(claimed) < limit:
            self._claim_at = time.monotonic() + _CLAIM_PAUSE
        if claimed:
            self._begin(claimed)
        return len(claimed) + int(lost is not None)

    def _begin(self, claimed: Sequence[Execution]) -> None:
        live = interpreters.take_all(claimed)
        parked: list[Outcome] = []
        begun: list[LiveRun] = []
        try:
            inputs = turn_inputs(claimed, self.using, live, claimed[0].claimed_at)
        except BaseException:
            for interpreter in live.values():
                interpreter.close()
            raise
        for given in inputs:
            self._turns.note_time(given.now, given.read_at)
            if given.execution.turn and not given.answers:
                parked.append(Parked(given.execution))
                if given.interpreter is not None:
                    self._keep(given.execution, given.interpreter)
            elif given.has_long_journal:
                self._lane.begin(given.execution)
            else:
                run = self._runs[given.execution.id] = LiveRun(given)
                begun.append(run)
        self._turns.threads.begin(begun)
        if parked:
            commit(parked, using=self.using, blocked=self._blocked_others)

    def _commit_ended(self) -> int:
        """Commits the turns that have ended, first those of the slow lane. Returns how many."""
        self._turns.finished.extend(self._blocked.take())
        from_lane = self._lane.take_ended()
        outcomes = [outcome for _execution, outcome in from_lane if outcome is not None]
        for outcome in outcomes:
            report(outcome)
        if unread := [execution for execution, outcome in from_lane if outcome is None]:
            operations.give_back_executions(unread, using=self.using)
        outcomes += self._blocked_others.take()
        if outcomes:
            commit(outcomes, using=self.using, blocked=self._blocked_others)
            self.wake()
            self.calls_came = True
        self._turns.wait_for(self._runs.values())
        batch: list[tuple[LiveRun, TurnResult]] = []
        faults: list[Faulted] = []
        for run, ended in self._turns.take_finished():
            is_ours = self._is_ours(run)
            if is_ours and isinstance(ended, TurnResult):
                batch.append((run, ended))
                continue
            self._drop(run)  # its turns since the claim are not committed
            if is_ours and isinstance(ended, Faulted):
                faults.append(ended)
        try:
            if batch:
                self._commit(batch)
        finally:
            if faults:
                commit(faults, using=self.using, blocked=self._blocked_others)
                self.wake()
        return len(from_lane) + len(batch) + len(faults)

    def _commit(self, batch: list[tuple[LiveRun, TurnResult]]) -> None:
        batch.sort(key=lambda ended: ended[0].execution.id)  # ids begin with the time of the start
        try:
            is_doubtful = any(run.is_doubtful for run, _result in batch)
            results = [result for _run, result in batch]
            left: list[Outcome] = []
            written = commit(results, using=self.using, is_doubtful=is_doubtful, blocked=left)
        except BaseException:
            for run, _result in batch:
                self._drop(run)
            raise
        blocked = {outcome.execution.id for outcome in left}
        for run, result in batch:
            try:
                if run.execution.id in blocked:
                    run.is_doubtful = True
                    run.leave(State.BLOCKED)
                    self._blocked.append((run, result))
                else:
                    self._go_on(run, result, written)
            except Exception as exc:  # noqa: BLE001  (it is logged)
                # The others go on.
                log_execution(
                    logging.ERROR, "execution left to its lease", run.execution, exc, exc
                )
                self._drop(run)

    def _go_on(self, run: LiveRun, result: TurnResult, written: Changes) -> None:
        changes = written.get(run.execution.id)
        if changes is None or changes.get("turn") != result.turn:
            self._drop(run)  # another worker has it, or it was put off
        elif "claim" not in changes:
            run.committed(changes)
            self._turns.start_calls(run)
        else:
            del self._runs[run.execution.id]
            if changes.get("due_at") is not None:
                self.wake()
            self.calls_came |= any(call.answer is None for call in run.calls)
            self._turns.hand_over(run)
            if result.is_last or run.interpreter is None:
                run.close()
            else:
                run.execution.turn = result.turn
                self._keep(run.execution, run.interpreter)

    def _keep(self, execution: Execution, interpreter: Interpreter) -> None:
        interpreters.put(execution.pk, execution.turn, interpreter, _kept_at_most())


def _kept_at_most() -> int:
    # Half of the processes, except for a few that the slow lane and checks need.
    return max(0, conf.current().SANDBOX_PROCESSES // 2 - 4)
