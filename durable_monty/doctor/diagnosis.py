"""Finds out why an execution does not move, and whether the stored rows are sound."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from durable_monty.doctor.explaining import explain_call
from durable_monty.doctor.findings import Check, Finding, Scope, run_checks
from durable_monty.doctor.invariants import STATE
from durable_monty.doctor.journal_invariants import JOURNAL
from durable_monty.doctor.lateness import LATENESS
from durable_monty.models import Attempt, Execution, ExecutionStatus
from durable_monty.models.clock import database_now
from durable_monty.operations.find import find_execution
from durable_monty.reads.fleet import read_fleet
from durable_monty.wording.executions import status_text
from durable_monty.wording.times import PRECISE

CHECKS: tuple[Check, ...] = (*STATE, *JOURNAL, *LATENESS)

# A gather may have thousands of open calls: a person reads the first ones.
_EXPLAINED = 10


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings; `sentences` explain the execution, if one was chosen."""

    findings: tuple[Finding, ...]
    sentences: tuple[str, ...] = ()

    @property
    def is_healthy(self) -> bool:
        return all(finding.fixed for finding in self.findings)


def diagnose(
    using: str, limit: int | None, late_after: timedelta, execution_id: uuid.UUID | None = None
) -> Diagnosis:
    """Checks one execution, or the whole database. See `Scope` for `limit` and `late_after`.

    Raises `ExecutionNotFound`.
    """
    now = database_now(using)
    scope = Scope(using, now, read_fleet(now, using), limit, execution_id, late_after)
    sentences: tuple[str, ...] = ()
    if execution_id is not None:
        execution = find_execution(execution_id, scope.executions().select_related("worker"))
        sentences = tuple(_explain(execution, scope))
    return Diagnosis(tuple(run_checks(CHECKS, scope)), sentences)


def _explain(execution: Execution, scope: Scope) -> Iterator[str]:
    yield status_text(execution, scope.fleet, scope.now, scope.using, PRECISE)
    if execution.status == ExecutionStatus.PAUSED:
        yield (
            "Resume it in the admin, or with OrchestratorService().resume_execution("
            f"{str(execution.pk)!r})."
        )
    calls = scope.calls().open().select_related("worker").defer("args", "kwargs")
    found = list(calls.order_by("call_id"))
    first = found[:_EXPLAINED]
    attempts = Attempt.objects.using(scope.using).filter(call__in=first).order_by("number")
    last = {attempt.call_id: attempt for attempt in attempts.defer("error_traceback")}
    for call in first:
        yield explain_call(call, scope.fleet, last.get(call.pk), scope.now)
    if len(found) > _EXPLAINED:
        yield f"{len(found) - _EXPLAINED} more calls are open."
