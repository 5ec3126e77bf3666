"""Advancing executions: one turn for each of a batch, then one commit for all.

No transaction is open while the sandbox runs. The caller's thread reads the input of a turn
before; the turns run side by side in threads that do not use the database.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from durable_monty.models import Execution
from durable_monty.operations.commit import commit
from durable_monty.operations.log import log_execution
from durable_monty.operations.outcomes import Faulted, Mismatched, Outcome, Parked, TurnResult
from durable_monty.operations.run import Run
from durable_monty.operations.transitions import MAX_FAULTS
from durable_monty.operations.turn_input import TurnInput, from_journal, turn_inputs
from durable_monty.sandbox import Failed


def advance_executions(
    executions: Sequence[Execution], *, using: str, threads: ThreadPoolExecutor
) -> int:
    """Runs one turn of each claimed execution and commits them. Returns the number committed."""
    outcomes: list[Outcome] = []
    inputs: list[TurnInput] = []
    for given in turn_inputs(executions, using):
        if (known := _without_a_run(given)) is not None:
            outcomes.append(known)
        else:
            inputs.append(given.read())
    again: list[TurnInput] = []
    for given, outcome in zip(inputs, threads.map(_run, inputs), strict=True):
        if host_is_to_blame(outcome):
            report(first_fault(outcome))
            again.append(from_journal(given, using).read())
        else:
            outcomes.append(outcome)
    outcomes += threads.map(_run, again)
    for outcome in outcomes:
        report(outcome)
    written = commit(outcomes, using=using)
    return sum("turn" in changes for changes in written.values())


def advance_alone(given: TurnInput) -> Outcome:
    """Runs one turn of an execution whose last run failed or was lost, or whose journal is long.

    The first failure of the host leads to a second run, whose failure counts.
    """
    if (known := _without_a_run(given)) is not None:
        return known
    outcome = _run(given)
    if host_is_to_blame(outcome) and not given.is_second_try:
        return first_fault(outcome)
    return outcome


def first_fault(outcome: Outcome) -> Faulted:
    """Returns the outcome that puts the execution off until its second run."""
    is_ours = isinstance(outcome, Faulted) and outcome.is_ours
    why = ""
    match outcome:
        case TurnResult(ending=Failed(message=why)) | Faulted(why=why) | Mismatched(why=why):
            pass
    return Faulted(outcome.execution, why, is_ours=is_ours, at_once=True)


def report(outcome: Outcome) -> None:
    """Logs what went wrong, if anything did."""
    match outcome:
        case Faulted(execution=execution, why=why, at_once=True):
            log_execution(logging.WARNING, "turn is run again from the journal", execution, why)
        case Faulted(execution=execution, why=why):  # the commit logs a mismatch
            log_execution(logging.ERROR, "execution could not be advanced", execution, why)


def host_is_to_blame(outcome: Outcome) -> bool:
    """Returns whether the turn is run again, from the journal, before it counts."""
    match outcome:
        case Faulted() | Mismatched(from_snapshot=True):
            return True
        case TurnResult(turns=turns):
            return any(isinstance(t.outcome, Failed) and t.outcome.limit for t in turns)
        case _:
            return False


def _without_a_run(given: TurnInput) -> Faulted | Parked | None:
    """Returns the outcome of an execution that no turn is run for."""
    execution = given.execution
    if execution.faults >= MAX_FAULTS:
        return Faulted(execution, "its worker vanished while it ran")
    if execution.turn and not given.answers and not given.may_lack_calls:
        return Parked(execution)
    return None


def _run(given: TurnInput) -> Outcome:
    """Runs one turn. An error in it must not touch the rest of the batch."""
    run = Run(given)
    try:
        with closing(run):
            run.advance()
            return run.result() if run.turns or run.calls else Parked(run.execution)
    except Exception as exc:  # noqa: BLE001  (it is logged)
        return run.failed_by(exc)
