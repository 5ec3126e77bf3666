"""What pages and the doctor say about an execution, in the active language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from django.utils.translation import gettext as _, ngettext

from durable_monty.models import Execution, ExecutionStatus
from durable_monty.models.execution import ACTIVE
from durable_monty.reads.fleet import Fleet
from durable_monty.reads.open_calls import OpenCalls, read_first_open
from durable_monty.wording.calls import doing_text, group_text
from durable_monty.wording.times import SHORT, MomentStyle, span

# More groups of open calls than these are counted instead of named.
_NAMED = 4


def awaited_text(
    execution: Execution, calls: Sequence[OpenCalls], fleet: Fleet, now: datetime
) -> str:
    """Returns what an execution waits for, as a row of a list says it; empty if for nothing.

    `approve (a person), 3 encode_video (a worker) and 2 more`
    """
    if execution.status == ExecutionStatus.PAUSED:
        if not execution.error_type:
            return _("a person to resume it")
        return _("a person to resume it (%(error)s)") % {"error": execution.error_type}
    if execution.status not in ACTIVE:
        return ""
    if execution.due_at is None:
        texts = [group_text(group, fleet) for group in calls]
        if len(texts) > _NAMED:
            texts[_NAMED:] = [_("and %(count)d more") % {"count": len(texts) - _NAMED}]
        return ", ".join(texts)
    if execution.claim is not None and execution.due_at > now:
        facts = {"worker": execution.worker or _("a worker"), "turn": execution.turn + 1}
        return _("turn %(turn)d on %(worker)s") % facts
    return _("a worker") if fleet.workers else _("a worker, but no worker is running")


def status_text(
    execution: Execution, fleet: Fleet, now: datetime, using: str, style: MomentStyle = SHORT
) -> str:
    """Returns sentences that say what an execution is doing, and why it does not move."""
    # Each text takes its share of the facts; a translation may leave some out.
    error = f"{execution.error_type}: {execution.error_message}"
    match execution.status:
        case ExecutionStatus.PAUSED if execution.error_type:
            text = _("Paused, with nothing lost: %(error)s")
        case ExecutionStatus.PAUSED if execution.reason:
            text = _("Paused by hand: %(reason)s")
        case ExecutionStatus.PAUSED:
            text = _("Paused by hand.")
        case ExecutionStatus.COMPLETED:
            text = _("Completed %(ago)s, after %(span)s.")
        case ExecutionStatus.FAILED:
            text = _("Failed %(ago)s, after %(span)s: %(error)s")
        case ExecutionStatus.CANCELLED:
            text = _("Cancelled %(ago)s, after %(span)s.")
        case _active:
            if execution.due_at is None:
                text = _waiting_text(execution, fleet, now, using, style)
            else:
                text = _due_text(execution, execution.due_at, fleet, now, style)
            return f"{text} {_request_text(execution, now, style)}".strip()
    finished = execution.finished_at or now
    return text % {
        "ago": style.relative(finished, now),
        "span": span(finished - execution.created_at),
        "error": error,
        "reason": execution.reason,
    }


def _due_text(
    execution: Execution, due_at: datetime, fleet: Fleet, now: datetime, style: MomentStyle
) -> str:
    worker, is_late = execution.worker, due_at <= now
    # A turn that failed keeps its claim while it is put off: then the failure is the news.
    is_claimed = execution.claim is not None and not (is_late and execution.faults)
    if is_claimed and is_late:
        text = _(
            "%(worker)s began turn %(turn)d and did not end it; it is run again as soon as a "
            "worker is free."
        )
    elif is_claimed and (worker is None or worker.is_alive(now)):
        text = _("Turn %(turn)d runs now on %(worker)s.")
    elif is_claimed:
        text = _(
            "%(worker)s, whose heartbeat stopped %(stopped)s, holds turn %(turn)d; another worker "
            "takes it %(time)s."
        )
    elif execution.faults:
        text = ngettext(
            "The sandbox failed once on turn %(turn)d; a worker tries again %(time)s.",
            "The sandbox failed %(count)d times on turn %(turn)d; a worker tries again %(time)s.",
            execution.faults,
        )
    elif execution.turn:
        text = _("An answer has come; turn %(turn)d runs as soon as a worker is free.")
    else:
        text = _("Scheduled %(ago)s; it starts as soon as a worker is free.")
    text %= {
        "worker": worker or _("a worker"),
        "stopped": "" if worker is None else style.relative(worker.heartbeat_at, now),
        "turn": execution.turn + 1,
        "count": execution.faults,
        "time": _("as soon as one is free") if is_late else style.relative(due_at, now),
        "ago": style.relative(execution.created_at, now),
    }
    if is_claimed or fleet.workers:
        return text
    return f"{text} {_('No worker is running: start one with “manage.py runworker”.')}"


def _waiting_text(
    execution: Execution, fleet: Fleet, now: datetime, using: str, style: MomentStyle
) -> str:
    first, count = read_first_open(execution, using)
    if not first:
        return _("Waiting, but none of its calls is open.")
    # Calls that wait for the same are named once: a gather may have made fifty of them.
    alike = Counter(f"{call.function} ({doing_text(call, fleet, now, style)})" for call in first)
    named = [
        text if number == 1 else f"{number} {text}" for text, number in alike.most_common(_NAMED)
    ]
    if unnamed := count - sum(number for _text, number in alike.most_common(_NAMED)):
        named.append(_("and %(count)d more") % {"count": unnamed})
    text = ngettext(
        "Waiting since %(time)s for a call: %(calls)s.",
        "Waiting since %(time)s for %(count)d calls: %(calls)s.",
        count,
    )
    since = style.at(first[0].created_at, now)
    return text % {"time": since, "count": count, "calls": ", ".join(named)}


def _request_text(execution: Execution, now: datetime, style: MomentStyle) -> str:
    # A request is honoured by the commit of the turn that runs: until then both are true.
    if execution.grace_until is not None:
        if execution.cancel_requested_at is None:
            text = _("Its deadline has passed; it may clean up until %(time)s.")
        else:
            text = _("It is being cancelled, and may clean up until %(time)s.")
        return text % {"time": style.at(execution.grace_until, now)}
    return _("It pauses after this turn.") if execution.pause_requested else ""
