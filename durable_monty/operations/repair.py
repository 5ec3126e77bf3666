"""Repairs rows that break an invariant, each in a transaction that finds it still broken."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max

from durable_monty import conf
from durable_monty.durations import later
from durable_monty.kinds import Due, kind_of
from durable_monty.models import (
    Attempt,
    Call,
    CallStatus,
    Execution,
    ExecutionStatus,
    Snapshot,
    WorkerProcess,
)
from durable_monty.models.clock import database_now
from durable_monty.models.execution import ACTIVE
from durable_monty.operations.close import close_open_calls, wake
from durable_monty.operations.locks import locked
from durable_monty.operations.schedule import due_time, lease
from durable_monty.operations.transactions import write

Repair = Callable[["_Broken"], str]


def repair(check: str, execution_id: uuid.UUID, call_id: int | None, *, using: str) -> str:
    """Repairs a finding of `check`, and says how; empty if there is nothing to repair any more.

    Raises KeyError for a check that has no repair.
    """
    mend = REPAIRS[check]
    with write(using):
        executions = Execution.objects.using(using).filter(pk=execution_id)
        execution = locked(executions).first()
        if execution is None:
            return ""
        call = None
        if call_id is not None:
            calls = Call.objects.using(using).filter(execution_id=execution_id, call_id=call_id)
            if (call := locked(calls.open()).first()) is None:
                return ""
        return mend(_Broken(execution, call, database_now(using), using))


# By check, of the findings that can be repaired.
REPAIRS: dict[str, Repair] = {}


def _repairs(*checks: str) -> Callable[[Repair], Repair]:
    def register(repair: Repair) -> Repair:
        REPAIRS.update(dict.fromkeys(checks, repair))
        return repair

    return register


@dataclass(frozen=True, slots=True)
class _Broken:
    """The locked rows of a finding. `call` is open, if there is one."""

    execution: Execution
    call: Call | None
    now: datetime
    using: str

    @property
    def lease_ends(self) -> datetime:
        return self.now + lease()

    @property
    def sleeps(self) -> bool:
        """Returns whether the execution should run, but no worker will ever claim it."""
        return self.execution.status in ACTIVE and self.execution.due_at is None

    def save(self, **changes: object) -> None:
        row = self.call or self.execution
        for name, value in changes.items():
            setattr(row, name, value)
        row.save(using=self.using, update_fields=list(changes))


@_repairs("lost-wake-up")
def wake_execution(broken: _Broken) -> str:
    calls = Call.objects.using(broken.using).filter(execution=broken.execution)
    if not broken.sleeps or not calls.undelivered().exists():
        return ""
    wake([broken.execution.pk], broken.now, broken.using)
    return "It was made due."


@_repairs("never-due")
def begin_execution(broken: _Broken) -> str:
    if not broken.sleeps or broken.execution.turn:
        return ""
    broken.save(due_at=broken.now)
    return "It was made due."


@_repairs("open-call-of-finished")
def withdraw_calls(broken: _Broken) -> str:
    calls = Call.objects.using(broken.using).filter(execution=broken.execution)
    if not broken.execution.is_finished or not calls.open().exists():
        return ""
    close_open_calls([broken.execution.pk], None, broken.now, broken.using)
    return "Its open calls were withdrawn."


@_repairs("call-never-due")
def make_call_due(broken: _Broken) -> str:
    call = broken.call
    if call is None or call.due_at is not None:
        return ""
    if (due_at := due_time(call, broken.now)) is None:
        return ""
    broken.save(due_at=due_at)
    if kind_of(call).due is Due.AFTER_DELAY:
        return "It ends when it should have, counted from when it began."
    return "It was made due."


@_repairs("call-claim")
def release_claim(broken: _Broken) -> str:
    call = broken.call
    if call is None or (call.status == CallStatus.SUBMITTED) == (call.claim is not None):
        return ""
    broken.save(status=CallStatus.PENDING, claim=None)
    return "It is pending, without a claim."


@_repairs("call-deadline")
def set_deadline(broken: _Broken) -> str:
    call = broken.call
    if call is None:
        return ""
    before = call.deadline_at
    call.note_deadline()
    if call.deadline_at == before:
        return ""
    broken.save(deadline_at=call.deadline_at)
    return "Its first deadline was worked out again."


@_repairs("attempt-numbers")
def set_attempt(broken: _Broken) -> str:
    call = broken.call
    if call is None:
        return ""
    attempts = Attempt.objects.using(broken.using).filter(call=call)
    last: int = attempts.aggregate(last=Max("number"))["last"] or 0
    running = call.status == CallStatus.SUBMITTED and call.started_at is not None
    attempt = last + 1 if running else last
    if call.attempt >= attempt:
        return ""
    broken.save(attempt=attempt)
    return f"It is at attempt {attempt}."


@_repairs("snapshot-ahead", "snapshot-of-finished")
def delete_snapshot(broken: _Broken) -> str:
    snapshot = Snapshot.objects.using(broken.using).filter(pk=broken.execution.pk)
    if not broken.execution.is_finished:
        snapshot = snapshot.filter(turn__gt=broken.execution.turn)
    deleted, _by_model = snapshot.delete()
    return "The snapshot was deleted." if deleted else ""


@_repairs("due-too-late")
def shorten_lease(broken: _Broken) -> str:
    row = broken.call or broken.execution
    if row.due_at is None or row.due_at <= broken.lease_ends:
        return ""
    if broken.call is not None and broken.call.status != CallStatus.SUBMITTED:
        return ""
    broken.save(due_at=broken.lease_ends)
    return f"It comes back in {conf.current().LEASE:g} seconds."


@_repairs("pause-unheeded")
def pause_execution(broken: _Broken) -> str:
    if not broken.sleeps or not broken.execution.pause_requested:
        return ""
    broken.save(status=ExecutionStatus.PAUSED, pause_requested=False)
    return "It was paused."


@_repairs("cancel-without-grace")
def limit_grace(broken: _Broken) -> str:
    execution = broken.execution
    if execution.is_finished or execution.cancel_requested_at is None or execution.grace_until:
        return ""
    grace = conf.current().CANCEL_GRACE
    broken.save(grace_until=later(broken.now, grace))
    return f"It is terminated in {grace:g} seconds, unless it ends before."


@_repairs("stopped-worker")
def take_back(broken: _Broken) -> str:
    row = broken.call or broken.execution
    if row.worker_id is None or row.claim is None or row.due_at is None:
        return ""
    stopped = WorkerProcess.objects.using(broken.using).filter(stopped_at__isnull=False)
    if row.due_at <= broken.now or not stopped.filter(pk=row.worker_id).exists():
        return ""
    broken.save(due_at=broken.now)
    return "It was made due."
