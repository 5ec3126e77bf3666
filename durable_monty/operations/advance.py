"""Advancing executions: a turn of the sandbox for each of a batch, then one commit for all.

No transaction is open while the sandbox runs. What a turn needs is read before it, in the caller's
thread and connection; the turns run side by side in threads that touch no database.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from durable_monty import conf
from durable_monty.exceptions import HostFault, ReplayMismatch, SnapshotUnusable
from durable_monty.models import Call, Execution, Snapshot
from durable_monty.models.clock import database_now
from durable_monty.operations.changes import MAX_FAULTS
from durable_monty.operations.commit import commit
from durable_monty.operations.journal import answers_of, settled, turns_of
from durable_monty.operations.outcomes import Advanced, Faulted, Mismatched, Outcome, Parked
from durable_monty.sandbox import (
    Failed,
    Interpreter,
    Limits,
    RecordedTurn,
    Suspended,
    Workflow,
    pack,
    replay,
    unpack,
)

logger = logging.getLogger("durable_monty")


@dataclass(frozen=True, slots=True)
class _Step:
    """All that one turn needs. `journal` is read only where the snapshot does not serve."""

    execution: Execution
    answers: Sequence[Call]
    snapshot: Snapshot | None
    now: datetime
    read_at: float
    journal: Sequence[RecordedTurn] | None = None


def advance_executions(
    executions: Sequence[Execution], *, using: str, threads: ThreadPoolExecutor
) -> int:
    """Runs one turn of each claimed execution and commits them; gives the number committed."""
    outcomes: list[Outcome] = []
    steps: list[_Step] = []
    for step in _steps(executions, using):
        if step.execution.faults >= MAX_FAULTS:
            outcomes.append(Faulted(step.execution, "its worker vanished while it ran"))
        elif step.execution.turn and not step.answers:
            outcomes.append(Parked(step.execution))
        else:
            steps.append(step)
    again: list[_Step] = []
    for step, outcome in zip(steps, threads.map(_run, steps), strict=True):
        if _host_is_to_blame(outcome):
            logger.warning("turn is run again from the journal", extra=_facts(outcome))
            again.append(_from_journal(step, using))
        else:
            outcomes.append(outcome)
    outcomes += threads.map(_run, again)
    for outcome in outcomes:
        if isinstance(outcome, Faulted | Mismatched):
            logger.error("execution could not be advanced", extra=_facts(outcome))
    return commit(outcomes, using=using)


def _steps(executions: Sequence[Execution], using: str) -> list[_Step]:
    ids = [execution.pk for execution in executions]
    answers = answers_of(ids, using)
    snapshots = Snapshot.objects.using(using).in_bulk(ids)
    now, read_at = database_now(using), time.monotonic()
    steps = []
    for execution in executions:
        snapshot = snapshots.get(execution.pk)
        if snapshot is not None and snapshot.turn > execution.turn:
            snapshot = None  # the journal was restored from an older backup
        step = _Step(execution, answers[execution.pk], snapshot, now, read_at)
        if snapshot is None:
            step = _from_journal(step, using)
        elif snapshot.turn != execution.turn:
            after = turns_of(execution.pk, execution.turn, using, after=snapshot.turn)
            step = replace(step, journal=after)
        steps.append(step)
    return steps


def _from_journal(step: _Step, using: str) -> _Step:
    execution = step.execution
    journal = turns_of(execution.pk, execution.turn, using) if execution.turn else ()
    return replace(step, snapshot=None, journal=journal)


def _host_is_to_blame(outcome: Outcome) -> bool:
    """Whether the turn deserves a second run, from the journal, before it counts."""
    match outcome:
        case Faulted() | Mismatched(from_snapshot=True):
            return True
        case Advanced(turn=turn):
            return isinstance(turn.outcome, Failed) and turn.outcome.limit
        case _:
            return False


def _facts(outcome: Outcome) -> dict[str, str]:
    match outcome:
        case Advanced(turn=turn):
            why = getattr(turn.outcome, "message", "")
        case Parked():
            why = ""
        case _:
            why = outcome.why
    return {"execution": str(outcome.execution.pk), "why": why}


def _run(step: _Step) -> Outcome:
    """One turn. Nothing that goes wrong in it may touch the rest of the batch."""
    try:
        return _turn(step)
    except ReplayMismatch as exc:
        return Mismatched(step.execution, str(exc), from_snapshot=step.snapshot is not None)
    except (SnapshotUnusable, HostFault) as exc:
        return Faulted(step.execution, str(exc))
    except Exception as exc:
        logger.exception("turn failed", extra={"execution": str(step.execution.pk)})
        return Faulted(step.execution, f"{type(exc).__name__}: {exc}", counts=False)


def _turn(step: _Step) -> Advanced:
    execution = step.execution
    clock = _Clock(step)
    with _interpreter(step, clock) as interpreter:
        if execution.turn:
            turn = interpreter.resume({call.call_id: settled(call) for call in step.answers})
        else:
            turn = interpreter.start()
        packed = None
        if isinstance(turn.outcome, Suspended):
            try:
                packed = pack(interpreter.dump())
            except HostFault as exc:
                # No harm: the next turn begins with a replay.
                logger.warning(
                    "no snapshot", extra={"execution": str(execution.pk), "why": str(exc)}
                )
    return Advanced(
        execution,
        turn,
        delivered=[call.pk for call in step.answers],
        loaded_turn=None if step.snapshot is None else step.snapshot.turn + 1,
        packed=packed,
        clock_at=clock.read_last,
    )


def _interpreter(step: _Step, clock: _Clock) -> Interpreter:
    execution, settings = step.execution, conf.current()
    printed = len(execution.log.encode())
    workflow = Workflow(
        execution.program.source,
        execution.program.functions,
        execution.inputs,
        execution.seed,
    )
    limits = Limits(
        memory=settings.MAX_MEMORY,
        turn_seconds=settings.MAX_TURN_SECONDS,
        calls=max(0, settings.MAX_CALLS - execution.call_count),
        log_bytes=max(0, settings.MAX_LOG_BYTES - printed),
        value_bytes=settings.MAX_VALUE_BYTES,
        processes=settings.SANDBOX_PROCESSES,
    )
    if not execution.turn:
        return Interpreter(workflow, limits, clock)
    dump = None
    if step.snapshot is not None:
        dump, digest = unpack(bytes(step.snapshot.data), step.snapshot.size)
        step.snapshot.verify(digest)
    return replay(workflow, step.journal or (), limits, clock, dump=dump, printed=printed)


class _Clock:
    """The time a workflow reads: the database's, and never before what it has read already."""

    def __init__(self, step: _Step) -> None:
        self._now, self._read_at = step.now, step.read_at
        self.read_last = step.execution.clock_at

    def __call__(self) -> datetime:
        now = self._now + timedelta(seconds=time.monotonic() - self._read_at)
        self.read_last = max(now, self.read_last or now)
        return self.read_last
