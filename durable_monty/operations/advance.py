"""Advancing executions: a turn of the sandbox for each of a batch, then one commit for all.

No transaction is open while the sandbox runs. What a turn needs is read before it, in the caller's
thread and connection; the turns run side by side in threads that touch no database.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from durable_monty.exceptions import HostFault, ReplayMismatch, SnapshotUnusable
from durable_monty.models import Execution, Snapshot
from durable_monty.operations.commit import commit
from durable_monty.operations.journal import settled
from durable_monty.operations.limits import usual_limits
from durable_monty.operations.log import log_execution
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.outcomes import Faulted, Mismatched, Outcome, Parked, TurnResult
from durable_monty.operations.transitions import MAX_FAULTS
from durable_monty.operations.turn_clock import TurnClock
from durable_monty.operations.turn_input import TurnInput, from_journal, turn_inputs
from durable_monty.sandbox import (
    Failed,
    Interpreter,
    Limits,
    Workflow,
    dictionary_of,
    digest_of,
    pack,
    replay,
    unpack,
)

# What waits for a person or sleeps is dumped. Else a worker that vanishes costs a replay of a few
# turns, which is less than to write each of them down.
_EVERY = 8
# A dump grows with the calls that are waited for (20 bytes each, compressed), and a wide gather
# that is answered one by one would write it again for each: so only every second turn from so
# many calls on, every third from twice as many...
_WIDE = 32


def advance_executions(
    executions: Sequence[Execution], *, using: str, threads: ThreadPoolExecutor
) -> int:
    """Runs one turn of each claimed execution and commits them; gives the number committed."""
    outcomes: list[Outcome] = []
    steps: list[TurnInput] = []
    for step in turn_inputs(executions, using):
        if (known := _without_a_run(step)) is not None:
            outcomes.append(known)
        else:
            steps.append(step.read())
    again: list[TurnInput] = []
    for step, outcome in zip(steps, threads.map(_run, steps), strict=True):
        if host_is_to_blame(outcome):
            report(first_fault(outcome))
            again.append(from_journal(step, using).read())
        else:
            outcomes.append(outcome)
    outcomes += threads.map(_run, again)
    for outcome in outcomes:
        report(outcome)
    written = commit(outcomes, using=using)
    return sum("turn" in changes for changes in written.values())


def advance_alone(step: TurnInput) -> Outcome:
    """Runs one turn of an execution that needs care: its last run failed or was lost, or its
    journal is long. The first failure of the host leads to a second run, whose failure counts."""
    if (known := _without_a_run(step)) is not None:
        return known
    outcome = _run(step)
    if host_is_to_blame(outcome) and not step.is_second_try:
        return first_fault(outcome)
    return outcome


def first_fault(outcome: Outcome) -> Faulted:
    """Puts the execution off until its second run, which may begin at once."""
    is_ours = isinstance(outcome, Faulted) and outcome.is_ours
    return Faulted(outcome.execution, _why(outcome), is_ours=is_ours, at_once=True)


def report(outcome: Outcome) -> None:
    """Logs what went wrong, if anything did."""
    match outcome:
        case Faulted(execution=execution, why=why, at_once=True):
            log_execution(logging.WARNING, "turn is run again from the journal", execution, why)
        case Faulted(execution=execution, why=why):  # the commit tells of a mismatch
            log_execution(logging.ERROR, "execution could not be advanced", execution, why)


def host_is_to_blame(outcome: Outcome) -> bool:
    """Whether the turn deserves a second run, from the journal, before it counts."""
    match outcome:
        case Faulted() | Mismatched(from_snapshot=True):
            return True
        case TurnResult(turns=turns):
            return any(isinstance(t.outcome, Failed) and t.outcome.limit for t in turns)
        case _:
            return False


def _why(outcome: Outcome) -> str:
    match outcome:
        case TurnResult(ending=Failed(message=message)):
            return message
        case Faulted(why=why) | Mismatched(why=why):
            return why
        case _:
            return ""


def _without_a_run(step: TurnInput) -> Faulted | Parked | None:
    execution = step.execution
    if execution.faults >= MAX_FAULTS:
        return Faulted(execution, "its worker vanished while it ran")
    if execution.turn and not step.answers and not step.may_lack_calls:
        return Parked(execution)
    return None


def _run(step: TurnInput) -> Outcome:
    """One turn. Nothing that goes wrong in it may touch the rest of the batch."""
    try:
        return _turn(step)
    except ReplayMismatch as exc:
        return Mismatched(step.execution, str(exc), from_snapshot=step.snapshot is not None)
    except (SnapshotUnusable, HostFault) as exc:
        return Faulted(step.execution, str(exc))
    except Exception as exc:  # noqa: BLE001  (logged)
        log_execution(logging.ERROR, "turn failed", step.execution, exc, exc)
        return Faulted(step.execution, f"{type(exc).__name__}: {exc}", is_ours=True)


def _turn(step: TurnInput) -> TurnResult | Parked:
    execution = step.execution
    clock = TurnClock(step.now, step.read_at, execution.clock_at)
    with open_interpreter(step, clock) as interpreter:
        turns = []
        # Made by the last turn, and never written down: its worker vanished.
        calls = [NewCall.of(execution.pk, execution.turn, call) for call in interpreter.unrecorded]
        if not execution.turn:
            turns.append(interpreter.start())
        elif step.answers:
            answers = {call.call_id: settled(call) for call in step.answers}
            turns.append(interpreter.resume(answers))
        for turn in turns:
            calls += [NewCall.of(execution.pk, execution.turn + 1, call) for call in turn.calls]
        if not turns and not calls:
            return Parked(execution)
        outcome = TurnResult(
            execution,
            turns,
            calls,
            delivered=[call.pk for call in step.answers],
            loaded_turn=None if step.snapshot is None else step.snapshot.turn + 1,
            clock_at=clock.read_last,
            is_clean=not execution.turn,
        )
        return outcome if outcome.is_last else outcome._replace(**saved(interpreter, outcome))


def saved(interpreter: Interpreter, outcome: TurnResult) -> dict[str, Any]:
    """The `packed` and `dictionary` of an outcome; nothing, where a replay costs less than to
    write it."""
    execution, program = outcome.execution, outcome.execution.program
    every = 1 if any(call.waits_long for call in outcome.calls) else _EVERY
    if outcome.turn % max(every, 1 + len(interpreter.pending) // _WIDE):
        return {}
    try:
        dump = interpreter.dump()
    except HostFault as exc:
        # No harm: the next turn begins with a replay.
        log_execution(logging.WARNING, "no snapshot", execution, exc)
        return {}
    if program.dictionary is not None:
        return {"packed": pack(dump, bytes(program.dictionary))}
    # Used once it is stored: two workers may make different ones.
    functions = tuple(sorted(program.functions.items()))
    made = dictionary_of(program.source, functions, execution.inputs, usual_limits())
    return {"packed": pack(dump), "dictionary": made}


def open_interpreter(step: TurnInput, clock: TurnClock) -> Interpreter:
    """Where the execution stands: live, new, loaded, or replayed."""
    if step.interpreter is not None:
        step.interpreter.clock = clock
        return step.interpreter
    execution = step.execution
    printed = len(execution.log.encode())
    workflow = Workflow(
        execution.program.source,
        execution.program.functions,
        execution.inputs,
        execution.seed,
    )
    limits = _limits_left(execution, printed)
    if not execution.turn:
        return Interpreter(workflow, limits, clock)
    dump = None
    if step.snapshot is not None:
        dump = dump_of(step.snapshot, execution.program.dictionary)
    return replay(
        workflow,
        step.journal or (),
        limits,
        clock,
        dump=dump,
        printed=printed,
        errors=step.errors,
        is_open=step.may_lack_calls,
    )


def _limits_left(execution: Execution, printed: int) -> Limits:
    """What is left to the execution, which has `printed` so many bytes."""
    usual = usual_limits()
    return replace(
        usual,
        calls=max(0, usual.calls - execution.call_count),
        log_bytes=max(0, usual.log_bytes - printed),
    )


def dump_of(snapshot: Snapshot, stored: bytes | memoryview | None) -> bytes:
    """`stored`: its program's dictionary. Raises `SnapshotUnusable`."""
    dictionary = bytes(stored) if snapshot.dictionary and stored is not None else None
    if digest_of(dictionary) != snapshot.dictionary:
        raise SnapshotUnusable("the dictionary that it needs is gone")
    dump, digest = unpack(bytes(snapshot.data), snapshot.size, dictionary)
    snapshot.verify(digest)
    return dump
