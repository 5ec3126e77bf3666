"""What is told of the attempts of a call."""

from __future__ import annotations

from django.utils.translation import gettext as _

from durable_monty.functions import FUNCTION_REGISTRY, default_retry
from durable_monty.models import Call, CallStatus


def max_attempts(function: str) -> int:
    entry = FUNCTION_REGISTRY.get(function)
    return (default_retry() if entry is None else entry.retry_policy).max_attempts


def next_attempt(call: Call, time: str) -> str:
    """`attempt 3 of 5, retries at 2:31 p.m.`"""
    number, most = call.failures + 1, max_attempts(call.function)
    facts = {"number": number, "most": most, "time": time}
    if number > most:  # this process does not have the function
        return _("attempt %(number)d, retries at %(time)s") % facts
    return _("attempt %(number)d of %(most)d, retries at %(time)s") % facts


def progress_of(call: Call) -> str:
    """What its running attempt last said: `40% done, frame 3`; empty, if nothing."""
    if call.status != CallStatus.SUBMITTED:
        return ""
    done = "" if call.progress is None else _("%(percent)d%% done") % _percent(call.progress)
    return ", ".join(text for text in (done, call.progress_message) if text)


def _percent(progress: float) -> dict[str, int]:
    return {"percent": int(100 * progress)}
