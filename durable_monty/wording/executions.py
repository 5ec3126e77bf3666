"""What pages and the doctor say about an execution, in the language that is active."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from django.utils.translation import gettext as _, ngettext

from durable_monty.models import (
    Call,
    Execution,
    ExecutionStatus,
)
from durable_monty.models.execution import ACTIVE
from durable_monty.reads.fleet import Fleet
from durable_monty.reads.open_calls import OpenCalls
from durable_monty.wording.calls import group_text, progress_text, waits_for
from durable_monty.wording.times import SHORT, Telling, span

# More open calls than these are counted, not named; so many of an execution are looked at.
_NAMED = 4
_READ = 50


def awaited_text(
    execution: Execution, calls: Sequence[OpenCalls], fleet: Fleet, now: datetime
) -> str:
    """What a row of a list says an execution waits for; empty, if for nothing.

    `approve (a person), 3 encode_video (a worker) and 2 more`
    """
    if execution.status == ExecutionStatus.PAUSED:
        if not execution.error_type:
            return _("a person to resume it")
        return _("a person to resume it (%(error)s)") % {"error": execution.error_type}
    if execution.status not in ACTIVE:
        return ""
    if _is_running(execution, now):
        facts = {"worker": execution.worker or _("a worker"), "turn": execution.turn + 1}
        return _("turn %(turn)d on %(worker)s") % facts
    if execution.due_at is not None:
        return _any_worker(fleet)
    texts = [group_text(group, fleet) for group in calls]
    if len(texts) > _NAMED:
        texts[_NAMED:] = [_("and %(count)d more") % {"count": len(texts) - _NAMED}]
    return ", ".join(texts)


def status_text(
    execution: Execution, fleet: Fleet, now: datetime, using: str, telling: Telling = SHORT
) -> str:
    """What an execution is doing, and why it does not move."""
    match execution.status:
        case ExecutionStatus.PAUSED:
            return _paused_sentence(execution)
        case ExecutionStatus.COMPLETED:
            text = _("Completed %(ago)s, after %(span)s.")
        case ExecutionStatus.FAILED:
            text = _("Failed %(ago)s, after %(span)s: %(error)s")
        case ExecutionStatus.CANCELLED:
            text = _("Cancelled %(ago)s, after %(span)s.")
        case _active:
            active = _active_sentence(execution, fleet, now, using, telling)
            return f"{active} {_request(execution, now, telling)}".strip()
    finished = execution.finished_at or now
    return text % {
        "ago": telling.relative(finished, now),
        "span": span(finished - execution.created_at),
        "error": _error(execution),
    }


def _paused_sentence(execution: Execution) -> str:
    if execution.error_type:
        return _("Paused, with nothing lost: %(error)s") % {"error": _error(execution)}
    if execution.reason:
        return _("Paused by hand: %(reason)s") % {"reason": execution.reason}
    return _("Paused by hand.")


def _active_sentence(
    execution: Execution, fleet: Fleet, now: datetime, using: str, telling: Telling
) -> str:
    turn, due_at = execution.turn + 1, execution.due_at
    if due_at is None:
        return _waiting_sentence(execution, fleet, now, using, telling)
    if execution.claim is not None and (due_at > now or not execution.faults):
        return _claimed_sentence(execution, due_at, now, telling)
    if execution.faults:
        text = ngettext(
            "The sandbox failed once on turn %(turn)d; a worker tries again %(time)s.",
            "The sandbox failed %(count)d times on turn %(turn)d; a worker tries again %(time)s.",
            execution.faults,
        )
        time = telling.relative(due_at, now) if due_at > now else _("as soon as one is free")
        facts = {"count": execution.faults, "turn": turn, "time": time}
        return f"{text % facts} {_without_workers(fleet)}".strip()
    if execution.turn:
        text = _("An answer has come; turn %(turn)d runs as soon as a worker is free.")
    else:
        text = _("Scheduled %(ago)s; it starts as soon as a worker is free.")
    facts = {"turn": turn, "ago": telling.relative(execution.created_at, now)}
    return f"{text % facts} {_without_workers(fleet)}".strip()


def _claimed_sentence(
    execution: Execution, due_at: datetime, now: datetime, telling: Telling
) -> str:
    worker, turn = execution.worker, execution.turn + 1
    name = worker or _("a worker")
    if due_at <= now:
        text = _(
            "%(worker)s began turn %(turn)d and did not end it; it is run again as soon as a "
            "worker is free."
        )
        return text % {"worker": name, "turn": turn}
    if worker is None or worker.is_alive(now):
        return _("Turn %(turn)d runs now on %(worker)s.") % {"turn": turn, "worker": name}
    text = _(
        "%(worker)s, whose heartbeat stopped %(stopped)s, holds turn %(turn)d; another worker "
        "takes it %(time)s."
    )
    return text % {
        "worker": worker,
        "turn": turn,
        "stopped": telling.relative(worker.heartbeat_at, now),
        "time": telling.relative(due_at, now),
    }


def _request(execution: Execution, now: datetime, telling: Telling) -> str:
    """What it was asked to do besides, if anything."""
    if execution.grace_until is not None:
        if execution.cancel_requested_at is None:
            text = _("Its deadline has passed; it may clean up until %(time)s.")
        else:
            text = _("It is being cancelled, and may clean up until %(time)s.")
        return text % {"time": telling.at(execution.grace_until, now)}
    return _("It pauses after this turn.") if execution.pause_requested else ""


def _waiting_sentence(
    execution: Execution, fleet: Fleet, now: datetime, using: str, telling: Telling
) -> str:
    calls = Call.objects.using(using).filter(execution=execution).open().order_by("call_id")
    first = list(
        calls.select_related("worker").defer("args", "kwargs", "worker__functions_json")[:_READ]
    )
    if not first:
        return _("Waiting, but none of its calls is open.")
    count = calls.count() if len(first) == _READ else len(first)
    alike = Counter(f"{call.function} ({_doing(call, fleet, now, telling)})" for call in first)
    named = alike.most_common(_NAMED)
    waits = [text if number == 1 else f"{number} {text}" for text, number in named]
    if unnamed := count - sum(number for _text, number in named):
        waits.append(_("and %(count)d more") % {"count": unnamed})
    text = ngettext(
        "Waiting since %(time)s for a call: %(calls)s.",
        "Waiting since %(time)s for %(count)d calls: %(calls)s.",
        count,
    )
    since = telling.at(first[0].created_at, now)
    return text % {"time": since, "count": count, "calls": ", ".join(waits)}


def _doing(call: Call, fleet: Fleet, now: datetime, telling: Telling) -> str:
    text = waits_for(call, fleet, now, telling)
    progress = progress_text(call)
    return f"{text}, {progress}" if progress else text


def _without_workers(fleet: Fleet) -> str:
    if fleet.workers:
        return ""
    return _("No worker is running: start one with “manage.py runworker”.")


def _is_running(execution: Execution, now: datetime) -> bool:
    due_at = execution.due_at
    return execution.claim is not None and due_at is not None and due_at > now


def _any_worker(fleet: Fleet) -> str:
    return _("a worker") if fleet.workers else _("a worker, but no worker is running")


def _error(execution: Execution) -> str:
    return f"{execution.error_type}: {execution.error_message}"
