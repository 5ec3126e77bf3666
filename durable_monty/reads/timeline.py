"""The calls of one execution, a page at a time, with what each did when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min
from django.db.models.functions import Substr

from durable_monty.models import Attempt, Call, CallStatus, Execution
from durable_monty.models.call import OPEN, CallQuerySet
from durable_monty.reads.phases import Phase, phases_of

PAGE = 100
# Open calls of other pages that are shown besides: what an execution waits for is always seen.
_ELSEWHERE = 20
_ATTEMPTS = 1_000
_FAILED = 3
_ARGUMENTS = 120
_ERROR = 200
_HEAVY = ("args", "kwargs", "result", "error_message", "error_traceback", "reason")


@dataclass(frozen=True, slots=True)
class Place:
    """The calls made at one place of the source that have one status. `byte`: where it begins."""

    byte: int
    status: str
    count: int
    first_pk: int


@dataclass(frozen=True, slots=True)
class TimedCall:
    """`arguments`: the beginning of the positional ones, as JSON text; `error`: that of its last
    attempt."""

    call: Call
    arguments: str
    error: str
    phases: tuple[Phase, ...]


@dataclass(frozen=True, slots=True)
class CallsPage:
    """`elsewhere`: the first open calls that this page does not have."""

    number: int
    pages: int
    total: int
    calls: tuple[TimedCall, ...]
    elsewhere: tuple[TimedCall, ...]

    @property
    def first(self) -> int:
        return (self.number - 1) * PAGE + 1

    @property
    def last(self) -> int:
        return self.first + len(self.calls) - 1


def count_places(execution: Execution, using: str) -> tuple[Place, ...]:
    """How many calls each place of the source has made."""
    groups = (
        Call.objects.using(using)
        .filter(execution=execution)
        .order_by("position_start", "status")
        .values_list("position_start", "status")
        .annotate(Count("pk"), Min("pk"))
    )
    return tuple(Place(*group) for group in groups)


def read_timeline(
    execution: Execution,
    found: Iterable[Place],
    number: int | None,
    now: datetime,
    using: str,
    *,
    within: tuple[int, int] | None = None,
) -> CallsPage:
    """Page `number`, or the last. `within`: only the calls made between these bytes."""
    calls = Call.objects.using(using).filter(execution=execution)
    if within is not None:
        calls = calls.filter(position_start__range=(within[0], within[1] - 1))
        found = [place for place in found if within[0] <= place.byte < within[1]]
    found = tuple(found)
    total = sum(place.count for place in found)
    pages = max(1, -(-total // PAGE))
    number = pages if number is None else min(max(1, number), pages)
    start = (number - 1) * PAGE
    page = list(_light(calls).order_by("call_id")[start : start + PAGE])
    shown = {call.pk for call in page}
    elsewhere: list[Call] = []
    if pages > 1 and any(place.status in OPEN for place in found):
        first_open = _light(calls.open()).order_by("call_id")[: PAGE + _ELSEWHERE]
        elsewhere = [call for call in first_open if call.pk not in shown][:_ELSEWHERE]
    attempts = _attempts([*page, *elsewhere], using)
    return CallsPage(
        number,
        pages,
        total,
        tuple(_timed(call, attempts, now) for call in page),
        tuple(_timed(call, attempts, now) for call in elsewhere),
    )


def find_last_failures(execution: Execution, using: str) -> list[Call]:
    """The calls whose errors its last turn was given, with the traceback of their functions."""
    failed = Call.objects.using(using).filter(
        execution=execution, status=CallStatus.FAILED, delivered_turn=execution.turn
    )
    with_traceback = failed.exclude(error_traceback="").order_by("call_id")
    return list(with_traceback.only("call_id", "function", "error_traceback")[:_FAILED])


def read_timed_call(call: Call, now: datetime, using: str) -> TimedCall:
    return _timed(call, _attempts([call], using), now)


def _light(calls: CallQuerySet) -> CallQuerySet:
    return (
        calls.select_related("worker")
        .defer(*_HEAVY, "worker__functions_json")
        .annotate(
            beginning=Substr("args", 1, _ARGUMENTS + 1),
            beginning_of_error=Substr("error_message", 1, _ERROR + 1),
        )
    )


def _attempts(calls: Sequence[Call], using: str) -> dict[int, list[Attempt]]:
    """The latest of each, by number."""
    tried = [call.pk for call in calls if call.failures or call.losses or call.attempt > 1]
    if not tried:
        return {}
    attempts = (
        Attempt.objects.using(using)
        .filter(call__in=tried)
        .order_by("-number")
        .annotate(beginning_of_error=Substr("error_message", 1, _ERROR + 1))
    )
    found: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in attempts.defer("error_message", "error_traceback")[:_ATTEMPTS]:
        found[attempt.call_id].insert(0, attempt)
    return found


def _timed(call: Call, attempts: dict[int, list[Attempt]], now: datetime) -> TimedCall:
    tried = attempts.get(call.pk, [])
    arguments = _short(vars(call).get("beginning", ""), _ARGUMENTS)
    return TimedCall(call, arguments, _error(call, tried), phases_of(call, tried, now))


def _error(call: Call, attempts: Sequence[Attempt]) -> str:
    failed: Call | Attempt
    if call.status == CallStatus.FAILED:
        failed = call
    elif call.is_open and attempts:
        failed = attempts[-1]
    else:
        return ""
    message = _short(vars(failed).get("beginning_of_error", ""), _ERROR)
    return f"{failed.error_type}: {message}".strip(": ")


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
