"""One turn of an execution: the answers it was given, the calls it made, the place it reached."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Q, Sum
from django.db.models.functions import Length, Substr
from django.utils.translation import gettext as _

from durable_monty import conf
from durable_monty.exceptions import DurableMontyError
from durable_monty.kinds import INSTANT
from durable_monty.models import Call, Execution
from durable_monty.models.call import CallQuerySet
from durable_monty.operations.journal import journals_of
from durable_monty.operations.sources import workflow_of
from durable_monty.sandbox import Limits, Position, Suspended, Turn, retrace

logger = logging.getLogger("durable_monty")

# A turn may have thousands of calls, and a value megabytes: the page of a call has it whole.
_SHOWN = 100
_CHARACTERS = 2_000
_VALUES = ("args", "kwargs", "result", "error_message")
# A replay runs in the web process, while the page waits for it.
_MAX_CALLS = 5_000
_MAX_CHARACTERS = 32 * 1024 * 1024
_MAX_SECONDS = 3


@dataclass(frozen=True, slots=True)
class TurnCall:
    """A call with the beginnings of its values, as JSON text; `result` is None for an error."""

    call: Call
    args: str
    kwargs: str
    result: str | None
    error: str


@dataclass(frozen=True, slots=True)
class TurnCalls:
    """The first calls of a turn, and how many there are."""

    calls: tuple[TurnCall, ...]
    count: int


@dataclass(frozen=True, slots=True)
class TurnView:
    """The place of the source after a turn, and the output printed in it.

    `why_not` says why these are not known. A workflow that has ended has no `position`.
    """

    position: Position | None = None
    printed: str = ""
    why_not: str = ""


def read_delivered(execution: Execution, turn: int, using: str) -> TurnCalls:
    """Returns the calls whose answers the turn was given."""
    calls = Call.objects.using(using).filter(execution=execution, delivered_turn=turn)
    # A reading of the clock is answered in the turn that made it: it is no news.
    return _read_calls(calls.exclude(kind__in=INSTANT))


def read_made(execution: Execution, turn: int, using: str) -> TurnCalls:
    return _read_calls(Call.objects.using(using).filter(execution=execution, turn=turn))


def find_commit_time(execution: Execution, turn: int, using: str) -> datetime | None:
    """Returns when the turn was committed; None if it left no trace of that."""
    if turn == 1 and execution.started_at is not None:
        return execution.started_at
    calls = Call.objects.using(using).filter(execution=execution, turn=turn)
    made: datetime | None = calls.aggregate(at=Max("created_at"))["at"]
    return execution.finished_at if made is None and turn == execution.turn else made


def find_open_after(execution: Execution, turn: int, limit: int, using: str) -> list[Call]:
    """Returns the first function calls that were open after `turn`, as they are now."""
    return list(_open_after(execution, turn, using).order_by("call_id")[:limit])


def count_open_after(execution: Execution, turn: int, using: str) -> int:
    return _open_after(execution, turn, using).count()


def view_turn(execution: Execution, turn: int, using: str) -> TurnView:
    """Replays the journal up to this turn. An error is returned, not raised."""
    calls = Call.objects.using(using).filter(execution=execution, turn__lte=turn)
    size = calls.aggregate(
        calls=Count("pk"), args=Sum(Length("args")), results=Sum(Length("result"))
    )
    if size["calls"] > _MAX_CALLS:
        text = _("more than %(count)d calls would have to be replayed for it")
        return TurnView(why_not=text % {"count": _MAX_CALLS})
    if (size["args"] or 0) + (size["results"] or 0) > _MAX_CHARACTERS:
        return TurnView(why_not=_("the values of its calls are too large to be replayed"))
    try:
        last = _replay(execution, turn, using)
    except DurableMontyError as exc:
        return TurnView(why_not=str(exc))
    except Exception as exc:
        # The sandbox may be missing, or rows may hold values that no version of ours has written.
        logger.exception(
            "turn %d of execution %s (%s) could not be replayed",
            turn,
            execution.pk,
            execution.name or "unnamed",
            extra={"execution_id": str(execution.pk), "workflow": execution.name},
        )
        return TurnView(why_not=f"{type(exc).__name__}: {exc}")
    if last is None:
        text = _("its replay takes more than %(count)d seconds")
        return TurnView(why_not=text % {"count": _MAX_SECONDS})
    position = last.outcome.position if isinstance(last.outcome, Suspended) else None
    return TurnView(position, last.log)


def _replay(execution: Execution, turn: int, using: str) -> Turn | None:
    """Returns the turn as it was; None if that takes too long."""
    settings = conf.current()
    journal = journals_of({execution.pk: range(1, turn + 1)}, using)[execution.pk]
    limits = Limits(
        memory=settings.MAX_MEMORY,
        turn_seconds=settings.MAX_TURN_SECONDS,
        calls=settings.MAX_CALLS,
        # A log that was accepted stays accepted when the limit is lowered.
        log_bytes=max(settings.MAX_LOG_BYTES, len(execution.log.encode())),
        value_bytes=settings.MAX_VALUE_BYTES,
        processes=settings.SANDBOX_PROCESSES,
    )
    may_end = execution.is_finished and turn == execution.turn
    deadline = time.monotonic() + _MAX_SECONDS
    last = None
    workflow = workflow_of(execution)
    # The clock is never read: a replay has the readings of its journal.
    turns = retrace(workflow, journal, limits, lambda: execution.created_at, may_end=may_end)
    try:
        for last in turns:  # noqa: B007
            if time.monotonic() > deadline:
                return None
    finally:
        turns.close()
    return last


def _read_calls(calls: CallQuerySet) -> TurnCalls:
    beginnings = {f"beginning_of_{name}": Substr(name, 1, _CHARACTERS) for name in _VALUES}
    light = calls.defer(*_VALUES, "error_traceback").annotate(**beginnings).order_by("call_id")
    found = []
    for call in light[: _SHOWN + 1]:
        args, kwargs, result, error = (vars(call)[name] for name in beginnings)
        text = f"{call.error_type}: {error}".strip(": ")
        found.append(TurnCall(call, args, kwargs, result, text))
    count = len(found) if len(found) <= _SHOWN else calls.count()
    return TurnCalls(tuple(found[:_SHOWN]), count)


def _open_after(execution: Execution, turn: int, using: str) -> CallQuerySet:
    made = Call.objects.using(using).filter(execution=execution, turn__lte=turn).functions()
    return made.filter(Q(delivered_turn=None) | Q(delivered_turn__gt=turn))
