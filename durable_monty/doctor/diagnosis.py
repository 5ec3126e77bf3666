"""Why an execution does not move, and whether what is stored is sound."""

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
from durable_monty.exceptions import ExecutionNotFound
from durable_monty.models import Attempt, Call, Execution, ExecutionStatus
from durable_monty.models.clock import database_now
from durable_monty.reads.fleet import read_fleet
from durable_monty.wording.executions import status_text
from durable_monty.wording.times import PRECISE

CHECKS: tuple[Check, ...] = (*STATE, *JOURNAL, *LATENESS)

# Open calls of an execution that are told of one by one.
_TOLD = 10


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`sentences` tell of the one execution that was asked for; none, if it was all."""

    findings: tuple[Finding, ...]
    sentences: tuple[str, ...] = ()


def diagnose(using: str, limit: int | None, late_after: timedelta) -> Diagnosis:
    """All that is wrong in a database; see `Scope` for `limit` and `late_after`."""
    scope = Scope(using, database_now(using), limit, late_after=late_after)
    return Diagnosis(tuple(run_checks(CHECKS, scope)))


def diagnose_execution(
    execution_id: uuid.UUID, using: str, limit: int | None, late_after: timedelta
) -> Diagnosis:
    """Raises `ExecutionNotFound`."""
    now = database_now(using)
    executions = Execution.objects.using(using).select_related("worker")
    execution = executions.filter(pk=execution_id).first()
    if execution is None:
        raise ExecutionNotFound(execution_id)
    scope = Scope(using, now, limit, execution_id, late_after)
    return Diagnosis(tuple(run_checks(CHECKS, scope)), tuple(_explain(execution, scope)))


def _explain(execution: Execution, scope: Scope) -> Iterator[str]:
    using, now = scope.using, scope.now
    workers = read_fleet(now, using)
    yield status_text(execution, workers, now, using, PRECISE)
    if execution.status == ExecutionStatus.PAUSED:
        yield (
            "Resume it in the admin, or with OrchestratorService().resume_execution("
            f"{str(execution.pk)!r})."
        )
    calls = list(
        scope.calls().open().select_related("worker").defer("args", "kwargs").order_by("call_id")
    )
    last = _last_attempts(calls[:_TOLD], using)
    for call in calls[:_TOLD]:
        yield explain_call(call, workers, last.get(call.pk), now)
    if len(calls) > _TOLD:
        yield f"{len(calls) - _TOLD} more calls are open."


def _last_attempts(calls: list[Call], using: str) -> dict[int, Attempt]:
    attempts = Attempt.objects.using(using).filter(call__in=calls).defer("error_traceback")
    return {attempt.call_id: attempt for attempt in attempts.order_by("number")}
