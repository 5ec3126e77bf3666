"""One turn of an execution: what came in, what was asked, and where the source stood then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
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
from durable_monty.sandbox import Limits, Position, Suspended, Turn, Workflow, retrace

logger = logging.getLogger("durable_monty")

# Of each kind, so many are shown of a turn, and of each value so many characters.
_SHOWN = 100
_VALUE = 2_000
_VALUES = ("args", "kwargs", "result", "error_message")
# What a page may cost: a replay of so many calls, with so much text, in so many seconds.
_MAX_CALLS = 5_000
_MAX_CHARACTERS = 32 * 1024 * 1024
_MAX_SECONDS = 3


@dataclass(frozen=True, slots=True)
class TurnCall:
    """The beginnings of its values, as JSON text; `result` is None for an error."""

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
    """Where the source stood after a turn, and what it printed in it. `why_not` says why that is
    not known; `position` is None too if the workflow had come to its end."""

    position: Position | None = None
    printed: str = ""
    why_not: str = ""


def read_delivered(execution: Execution, turn: int, using: str) -> TurnCalls:
    """The answers that the turn was given; a clock reading is answered in the turn itself."""
    calls = Call.objects.using(using).filter(execution=execution, delivered_turn=turn)
    return _shown(calls.exclude(kind__in=INSTANT))


def read_made(execution: Execution, turn: int, using: str) -> TurnCalls:
    return _shown(Call.objects.using(using).filter(execution=execution, turn=turn))


def find_commit_time(execution: Execution, turn: int, using: str) -> datetime | None:
    """When the turn was committed; None if it left no trace of that."""
    if turn == 1 and execution.started_at is not None:
        return execution.started_at
    calls = Call.objects.using(using).filter(execution=execution, turn=turn)
    made: datetime | None = calls.aggregate(at=Max("created_at"))["at"]
    return execution.finished_at if made is None and turn == execution.turn else made


def view_turn(execution: Execution, turn: int, using: str) -> TurnView:
    """Runs the journal again up to this turn. Whatever goes wrong in it is told, not raised."""
    if why_not := _too_much(execution, turn, using):
        return TurnView(why_not=why_not)
    try:
        last = _run_again(execution, turn, using)
    except DurableMontyError as exc:
        return TurnView(why_not=str(exc))
    except Exception as exc:
        # The sandbox may be missing, or rows may hold what no version of ours has written.
        logger.exception(
            "turn %d of execution %s (%s) could not be replayed",
            turn,
            execution.pk,
            execution.name or "unnamed",
            extra={"execution_id": str(execution.pk), "workflow": execution.name},
        )
        return TurnView(why_not=f"{type(exc).__name__}: {exc}")
    if last is None:
        return TurnView(
            why_not=_("its replay takes more than %(count)d seconds") % {"count": _MAX_SECONDS}
        )
    position = last.outcome.position if isinstance(last.outcome, Suspended) else None
    return TurnView(position, last.log)


def _too_much(execution: Execution, turn: int, using: str) -> str:
    calls = Call.objects.using(using).filter(execution=execution, turn__lte=turn)
    size = calls.aggregate(
        calls=Count("pk"), asked=Sum(Length("args")), answered=Sum(Length("result"))
    )
    if size["calls"] > _MAX_CALLS:
        text = _("more than %(count)d calls would have to be replayed for it")
        return text % {"count": _MAX_CALLS}
    if (size["asked"] or 0) + (size["answered"] or 0) > _MAX_CHARACTERS:
        return _("the values of its calls are too large to be replayed")
    return ""


def _run_again(execution: Execution, turn: int, using: str) -> Turn | None:
    """What that turn came to; None if it takes too long."""
    program = execution.program
    workflow = Workflow(program.source, program.functions, execution.inputs, execution.seed)
    journal = journals_of({execution.pk: range(1, turn + 1)}, using)[execution.pk]
    may_end = execution.is_finished and turn == execution.turn
    deadline = time.monotonic() + _MAX_SECONDS
    last = None
    turns = retrace(workflow, journal, _limits(execution), _clock(execution), may_end=may_end)
    try:
        for last in turns:  # noqa: B007
            if time.monotonic() > deadline:
                return None
    finally:
        turns.close()
    return last


def _limits(execution: Execution) -> Limits:
    settings = conf.current()
    return Limits(
        memory=settings.MAX_MEMORY,
        turn_seconds=settings.MAX_TURN_SECONDS,
        calls=settings.MAX_CALLS,
        # A log that was accepted stays accepted when the limit is lowered.
        log_bytes=max(settings.MAX_LOG_BYTES, len(execution.log.encode())),
        value_bytes=settings.MAX_VALUE_BYTES,
        processes=settings.SANDBOX_PROCESSES,
    )


def _clock(execution: Execution) -> Callable[[], datetime]:
    """Never asked: a replay has the readings of its journal."""
    return lambda: execution.created_at


def _shown(calls: CallQuerySet) -> TurnCalls:
    beginnings = {f"beginning_of_{name}": Substr(name, 1, _VALUE) for name in _VALUES}
    light = calls.defer(*_VALUES, "error_traceback")
    rows = list(light.annotate(**beginnings).order_by("call_id")[: _SHOWN + 1])
    count = len(rows) if len(rows) <= _SHOWN else calls.count()
    return TurnCalls(tuple(_turn_call(row) for row in rows[:_SHOWN]), count)


def _turn_call(call: Call) -> TurnCall:
    args, kwargs, result, error = (vars(call)[f"beginning_of_{name}"] for name in _VALUES)
    return TurnCall(call, args, kwargs, result, f"{call.error_type}: {error}".strip(": "))


def find_open_after(execution: Execution, turn: int, limit: int, using: str) -> list[Call]:
    """The function calls that were open after `turn`, with what has become of them."""
    return list(_open_at(execution, turn, using).order_by("call_id")[:limit])


def count_open_after(execution: Execution, turn: int, using: str) -> int:
    return _open_at(execution, turn, using).count()


def _open_at(execution: Execution, turn: int, using: str) -> CallQuerySet:
    made = Call.objects.using(using).filter(execution=execution, turn__lte=turn).functions()
    return made.filter(Q(delivered_turn=None) | Q(delivered_turn__gt=turn))
