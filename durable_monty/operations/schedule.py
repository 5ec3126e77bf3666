"""When a call is due, when its time is over, and how long a claim lasts."""

from __future__ import annotations

from datetime import datetime, timedelta

from durable_monty import codec, conf
from durable_monty.durations import later
from durable_monty.functions import HasFunction, policy_of
from durable_monty.kinds import Due, kind_of
from durable_monty.models import Call


def lease() -> timedelta:
    return timedelta(seconds=conf.current().LEASE)


def after(now: datetime, seconds: float | None) -> datetime | None:
    return None if seconds is None else later(now, seconds)


def due_time(call: Call, now: datetime) -> datetime | None:
    """Returns when a worker must look at an open call that is in the journal already."""
    match kind_of(call).due:
        case Due.AT_ONCE:
            return now
        case Due.AFTER_DELAY:
            delay: float | None = codec.decode(call.args)[-1]
            return None if delay is None else later(call.created_at, delay)
        case Due.NEVER:
            return None


def schedule(call: HasFunction, now: datetime) -> dict[str, datetime | None]:
    """Returns the deadlines of a call that is made now."""
    timeouts = policy_of(call).timeouts
    start_by = after(now, timeouts.schedule_to_start)
    close_by = after(now, timeouts.schedule_to_close)
    return {
        "start_by": start_by,
        "close_by": close_by,
        "deadline_at": min((at for at in (start_by, close_by) if at), default=None),
    }
