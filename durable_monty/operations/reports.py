"""Reports ends and failures once they are committed: by log records, signals and wake-ups."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from django.db import transaction

from durable_monty.kinds import PERSON, kind_of
from durable_monty.models import Call, Execution, ExecutionStatus
from durable_monty.models.execution import FINISHED
from durable_monty.operations.exception_texts import MESSAGE_LIMIT
from durable_monty.operations.log import facts_of
from durable_monty.signals import (
    call_failed,
    call_waits_for_person,
    execution_failed,
    execution_finished,
)
from durable_monty.wakeups import announce

if TYPE_CHECKING:
    from durable_monty.operations.answer import Answer
    from durable_monty.operations.new_calls import NewCall
    from durable_monty.operations.outcomes import Outcome
    from durable_monty.operations.transitions import Changes

logger = logging.getLogger("durable_monty")

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def report_written(outcomes: Iterable[Outcome], written: Changes, using: str) -> None:
    """Reports the outcomes that a commit wrote."""
    # Every commit comes here: without listeners it must cost next to nothing.
    has_work = False
    hears_ends = execution_finished.has_listeners(Execution)
    hears_waiting = call_waits_for_person.has_listeners(Call)
    for outcome in outcomes:
        changes = written.get(outcome.execution.id)
        if changes is None:
            continue
        if "error_type" in changes or (hears_ends and changes.get("status") in FINISHED):
            report_execution(outcome.execution, changes, using)
        calls = getattr(outcome, "calls", ())
        if hears_waiting:
            report_waiting(outcome.execution, calls, using)
        has_work |= "claim" in changes and any(
            call.is_open and call.started_at is None and kind_of(call).takes_answers
            for call in calls
        )
    if has_work:
        announce(using, to_others=True)  # they may run these calls


def report_execution(execution: Execution, changes: Mapping[str, Any], using: str) -> None:
    """Reports an execution that ended, or that was paused because its replay differs.

    `changes` are the columns that were written, with its status and error.
    """
    transaction.on_commit(
        partial(_report_end, str(execution.pk), execution.name, dict(changes)),
        using=using,
        robust=True,
    )


def report_failed_call(call: Call, answer: Answer, using: str) -> None:
    """Reports a call whose error is final."""
    names = Execution.objects.using(using).filter(pk=call.execution_id)
    name = names.values_list("name", flat=True).first() or ""
    transaction.on_commit(partial(_report_failure, call, name, answer), using=using, robust=True)


def report_waiting(
    execution: Execution, calls: Sequence[NewCall] | Sequence[Call], using: str
) -> None:
    """Reports new calls that a person must answer."""
    if not call_waits_for_person.has_listeners(Call):
        return
    for call in calls:
        if kind_of(call) is PERSON and call.is_open:
            report = partial(
                call_waits_for_person.send_robust,
                Call,
                execution_id=str(execution.pk),
                call_id=call.call_id,
                function=call.function,
                name=execution.name,
            )
            transaction.on_commit(report, using=using, robust=True)


def _report_end(execution_id: str, name: str, changes: Mapping[str, Any]) -> None:
    status = ExecutionStatus(changes["status"])
    error_type, message = changes.get("error_type", ""), changes.get("error_message", "")
    if status in {ExecutionStatus.FAILED, ExecutionStatus.PAUSED}:
        logger.error(
            "Execution %s (%s) %s: %s: %s",
            execution_id,
            name or "unnamed",
            "failed" if status == ExecutionStatus.FAILED else "is paused",
            error_type,
            message,
            exc_info=_as_raised(error_type, message, changes.get("error_traceback", "")),
            extra={"execution_id": execution_id, "workflow": name, "reason": message},
        )
    if status not in FINISHED:
        return
    facts = {
        "execution_id": execution_id,
        "name": name,
        "status": status.value,
        "error": f"{error_type}: {message}" if error_type else None,
    }
    execution_finished.send_robust(Execution, **facts)
    if status == ExecutionStatus.FAILED:
        execution_failed.send_robust(Execution, **facts)


def _report_failure(call: Call, name: str, answer: Answer) -> None:
    execution_id, exc = str(call.execution_id), answer.exc
    error_type, message = answer.error_type, answer.error_message
    logger.error(
        "Function %s is given up: call %d of execution %s (%s), after %d attempts: %s: %s",
        call.function,
        call.call_id,
        execution_id,
        name or "unnamed",
        call.attempt,
        error_type,
        message,
        # The text of an enormous exception was cut.
        exc_info=_as_raised(error_type, message, answer.error_traceback)
        if exc is None or len(message) >= MESSAGE_LIMIT
        else (type(exc), exc, exc.__traceback__),
        extra={**facts_of(call), "workflow": name, "reason": message},
    )
    call_failed.send_robust(
        Call,
        execution_id=execution_id,
        call_id=call.call_id,
        function=call.function,
        name=name,
        error=f"{error_type}: {message}",
    )


class _Recorded(Exception):
    """The text of a traceback, shown as the cause of an exception, as multiprocessing does."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def _as_raised(error_type: str, message: str, traceback: str) -> ExcInfo:
    """Makes the exception of an error that is known by its text, for the handlers of logs."""
    exc = type(error_type, (Exception,), {"__module__": "builtins"})(message)
    if traceback:
        exc.__cause__ = _Recorded(traceback)
    return type(exc), exc, None
