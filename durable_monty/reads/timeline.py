"""The calls of one execution, a page at a time, each with its phases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min
from django.db.models.functions import Substr

from durable_monty.models import Attempt, Call, CallStatus, Execution
from durable_monty.models.call import OPEN, CallQuerySet
from durable_monty.reads.phases import Phase, phases_of

PAGE = 100
# What an execution waits for is always shown, whichever page that is on.
_OTHER_OPEN = 20
_ATTEMPTS = 1_000
_FAILED = 3
_ARGUMENTS = 120
_ERROR = 200
# One of these may have megabytes: the page reads their beginnings, or not at all.
_HEAVY = ("args", "kwargs", "result", "error_message", "error_traceback", "reason")


@dataclass(frozen=True, slots=True)
class Place:
    """The calls made from one place of the source, a byte offset, that have one status."""

    byte: int
    status: str
    count: int
    first_pk: int


@dataclass(frozen=True, slots=True)
class TimedCall:
    """A call, the beginning of its arguments as JSON text, and the error of its last attempt."""

    call: Call
    arguments: str
    error: str
    phases: tuple[Phase, ...]


@dataclass(frozen=True, slots=True)
class CallsPage:
    """A page of calls; `other_open` are the first open calls of the other pages."""

    number: int
    pages: int
    total: int
    calls: tuple[TimedCall, ...]
    other_open: tuple[TimedCall, ...]

    @property
    def first(self) -> int:
        return (self.number - 1) * PAGE + 1

    @property
    def last(self) -> int:
        return self.first + len(self.calls) - 1


def count_places(execution: Execution, using: str) -> tuple[Place, ...]:
    calls = Call.objects.using(using).filter(execution=execution)
    groups = calls.order_by("position_start", "status").values_list("position_start", "status")
    return tuple(Place(*group) for group in groups.annotate(Count("pk"), Min("pk")))


def read_timeline(
    execution: Execution,
    places: Iterable[Place],
    number: int | None,
    now: datetime,
    using: str,
    *,
    within: tuple[int, int] | None = None,
) -> CallsPage:
    """Returns page `number`, or the last; `within`: only calls made between these bytes."""
    calls = Call.objects.using(using).filter(execution=execution)
    if within is not None:
        calls = calls.filter(position_start__range=(within[0], within[1] - 1))
        places = [place for place in places if within[0] <= place.byte < within[1]]
    places = tuple(places)
    total = sum(place.count for place in places)
    pages = max(1, -(-total // PAGE))
    number = pages if number is None else min(max(1, number), pages)
    start = (number - 1) * PAGE
    page = list(_light(calls).order_by("call_id")[start : start + PAGE])
    other_open: list[Call] = []
    # The places have been counted anyway: mostly they save this query.
    if pages > 1 and any(place.status in OPEN for place in places):
        shown = {call.pk for call in page}
        first_open = _light(calls.open()).order_by("call_id")[: PAGE + _OTHER_OPEN]
        other_open = [call for call in first_open if call.pk not in shown][:_OTHER_OPEN]
    attempts = _read_attempts([*page, *other_open], using)
    return CallsPage(
        number,
        pages,
        total,
        tuple(_timed(call, attempts, now) for call in page),
        tuple(_timed(call, attempts, now) for call in other_open),
    )


def read_timed_call(call: Call, now: datetime, using: str) -> TimedCall:
    return _timed(call, _read_attempts([call], using), now)


def find_last_failures(execution: Execution, using: str) -> list[Call]:
    """Returns the calls whose errors the last turn was given, with their tracebacks."""
    failed = Call.objects.using(using).filter(
        execution=execution, status=CallStatus.FAILED, delivered_turn=execution.turn
    )
    with_traceback = failed.exclude(error_traceback="").order_by("call_id")
    return list(with_traceback.only("call_id", "function", "error_traceback")[:_FAILED])


def _light(calls: CallQuerySet) -> CallQuerySet:
    return (
        calls.select_related("worker")
        .defer(*_HEAVY, "worker__functions_json")
        .annotate(
            beginning=Substr("args", 1, _ARGUMENTS + 1),
            beginning_of_error=Substr("error_message", 1, _ERROR + 1),
        )
    )


def _read_attempts(calls: Sequence[Call], using: str) -> Mapping[int, list[Attempt]]:
    """Returns the latest attempts of each call, by number."""
    found: dict[int, list[Attempt]] = defaultdict(list)
    # A call that went well at once has no attempt of its own: most pages need no query.
    if tried := [call.pk for call in calls if call.failures or call.losses or call.attempt > 1]:
        attempts = Attempt.objects.using(using).filter(call__in=tried).order_by("-number")
        beginning = Substr("error_message", 1, _ERROR + 1)
        light = attempts.annotate(beginning_of_error=beginning)
        for attempt in light.defer("error_message", "error_traceback")[:_ATTEMPTS]:
            found[attempt.call_id].insert(0, attempt)
    return found


def _timed(call: Call, attempts: Mapping[int, list[Attempt]], now: datetime) -> TimedCall:
    tried = attempts.get(call.pk, [])
    failed: Call | Attempt | None = tried[-1] if call.is_open and tried else None
    if call.status == CallStatus.FAILED:
        failed = call
    error = ""
    if failed is not None:
        message = _short(vars(failed).get("beginning_of_error", ""), _ERROR)
        error = f"{failed.error_type}: {message}".strip(": ")
    arguments = _short(vars(call).get("beginning", ""), _ARGUMENTS)
    return TimedCall(call, arguments, error, phases_of(call, tried, now))


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
