"""Writing turns: a batch of executions in one transaction, each fenced on its own claim."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from django.db import connections, transaction

from durable_monty.operations.fence import lock_executions
from durable_monty.operations.log import log_execution, log_retry
from durable_monty.operations.outcomes import Faulted, Outcome
from durable_monty.operations.reports import report_written
from durable_monty.operations.shortcuts import shortcuts_of
from durable_monty.operations.transactions import may_pass, write
from durable_monty.operations.transitions import Changes
from durable_monty.operations.turn_writes import write_turns

# Seconds between attempts to commit while the database is out of reach.
_WAITS = (0.1, 0.5, 2.0, 5.0)


def commit(
    outcomes: Sequence[Outcome],
    *,
    using: str,
    is_doubtful: bool = False,
    blocked: list[Outcome] | None = None,
) -> Changes:
    """Writes the outcomes of executions whose claims still hold, each whole or not at all.

    Returns the columns that were written, or have changed, of each of these executions.

    While the database is out of reach, the commit is tried again. `is_doubtful`: an earlier commit
    raised, and may have happened. `blocked` takes the outcomes to commit later, because another
    transaction has locked their executions. Without it, this waits for that transaction.
    """
    written: Changes = {}
    try:
        written = shortcuts_of(using).commit(outcomes) or {}
        report_written(outcomes, written, using)
    except Exception as exc:
        if transaction.get_connection(using).in_atomic_block:
            raise
        log_retry(outcomes, exc)
        if may_pass(exc):
            connections[using].close()
        # To try again is safe: a commit that did happen has given up the claim or moved the turn,
        # so the fence leaves it out.
        is_doubtful = True
    others = [outcome for outcome in outcomes if outcome.execution.id not in written]
    return written | _commit_others(others, using, is_doubtful=is_doubtful, blocked=blocked)


def commit_at_once(outcome: Outcome, *, using: str) -> Changes:
    """Commits by the shortcut alone, and writes nothing where that does not serve.

    Raises as the database does; then the commit may have happened.
    """
    written = shortcuts_of(using).commit([outcome]) or {}
    report_written([outcome], written, using)
    return written


def _commit_others(
    outcomes: Sequence[Outcome],
    using: str,
    *,
    is_doubtful: bool = False,
    blocked: list[Outcome] | None,
) -> Changes:
    if not outcomes:
        return {}
    for wait in (*_WAITS, None):
        try:
            return _commit(outcomes, using, is_doubtful=is_doubtful, blocked=blocked)
        # The driver refuses some values with errors that are not Django's, such as OverflowError.
        except Exception as exc:
            if may_pass(exc):
                if wait is None or transaction.get_connection(using).in_atomic_block:
                    raise
                log_retry(outcomes, exc)
                connections[using].close()
                is_doubtful = True
                time.sleep(wait)
            elif len(outcomes) > 1:
                # A batch does not share one fate: only the execution that is refused is put off.
                each = [_commit_others([outcome], using, blocked=blocked) for outcome in outcomes]
                return {pk: changes for written in each for pk, changes in written.items()}
            else:
                (outcome,) = outcomes
                log_execution(logging.ERROR, "commit was refused", outcome.execution, exc, exc)
                # If the database refuses the fault too, the execution is left to its lease.
                if isinstance(outcome, Faulted):
                    return {}
                fault = Faulted(outcome.execution, f"commit refused: {exc}")
                return _commit_others([fault], using, blocked=blocked)
    return {}


def _commit(
    outcomes: Sequence[Outcome], using: str, *, is_doubtful: bool, blocked: list[Outcome] | None
) -> Changes:
    left: list[Outcome] | None = None if blocked is None else []
    changes: Changes = {}
    with write(using):
        now, claimed = lock_executions(outcomes, using, is_doubtful=is_doubtful, blocked=left)
        if now is not None:
            changes = write_turns(claimed, now, using)
            report_written(outcomes, changes, using)
    if blocked is not None and left:
        blocked += left
    return changes
