"""What a worker of the cluster does for a call. Only ids travel to it."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import Error, connections, reset_queries
from django.utils import timezone
from django_q.conf import Conf
from django_q.exceptions import TimeoutException

from durable_monty.executors.batch import Batch
from durable_monty.executors.django_q.board import Seat
from durable_monty.executors.django_q.channels import Bell
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.log import log_calls
from durable_monty.operations.schedule import timeouts_of

# After its own time-out a function has this many seconds; then its process is killed.
_GRACE = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where this worker stands in a cluster of ours. `timer` is django-q2's: the seconds after
    which the sentinel kills the process, or -1."""

    seat: Seat
    timer: Any
    answers: Bell


# None in a plain `qcluster`.
place: Place | None = None


def task_for(claims: Sequence[ClaimedCall], using: str) -> dict[str, Any]:
    """A django-q2 task, of which nothing is saved or delivered twice."""
    pks, token = [claimed.pk for claimed in claims], claims[0].token.hex
    return {
        "id": token,
        "name": f"call-{pks[0]}",
        "func": run_task,
        "args": (pks, token, using),
        "kwargs": {},
        "started": timezone.now(),
        "save": False,
        "ack_failure": True,
    }


def claims_of(task: Mapping[str, Any]) -> tuple[list[ClaimedCall], str] | None:
    """The claims in a task and their database; None if the task is not one of ours."""
    if task.get("func") is not run_task:
        return None
    pks, token, using = task["args"]
    return _claims(pks, token), using


def _claims(pks: Sequence[int], token: str) -> list[ClaimedCall]:
    return [ClaimedCall(pk, uuid.UUID(token)) for pk in pks]


def run_task(pks: Sequence[int], token: str, using: str) -> None:
    """Runs claimed calls and records their answers; django-q2 has nothing to do with either."""
    invocation = Invocation(_stop_clock())
    batch = Batch(
        using=using,
        invoke=invocation,
        begin=_take_seat,
        may_go_on=lambda: not invocation.overran,
    )
    try:
        batch.run(_claims(pks, token))
    except Error as exc:
        what, claims = "calls left to their leases", _claims(pks, token)
        log_calls(logging.ERROR, what, claims, exc, exc)
        connections[using].close()
    finally:
        if settings.DEBUG:
            reset_queries()
        if place is not None:
            place.seat.call = 0
            place.answers.ring()
        if invocation.overran:
            _end_process()


def _take_seat(claimed: ClaimedCall) -> None:
    if place is not None:
        place.seat.token, place.seat.call = claimed.token.hex.encode(), claimed.pk


def time_limit(name: str, left: float) -> tuple[float, str]:
    """The seconds that a function may take, and what is said if it takes longer: its own
    start-to-close, or what is `left` of django-q2's time-out, if that is less. 0: no limit."""
    own = timeouts_of(name).start_to_close
    if own is not None and (not left or own < left):
        return own, f"start-to-close: {name}() did not end within {own:g} seconds"
    return left, f"{name}() ran longer than {Conf.TIMEOUT} seconds, the timeout in Q_CLUSTER"


def _stop_clock() -> float:
    """Stops django-q2's time-out and gives the seconds it had left; 0: there is none.

    It must not fire while the answer is recorded, so it runs only while the function does.
    """
    seconds, _interval = signal.setitimer(signal.ITIMER_REAL, 0)
    if place is not None:
        place.timer.value = -1
    return seconds


@dataclass(slots=True)
class Invocation:
    """Calls a function within `seconds`, what is left of django-q2's time-out (0: it has none),
    or within the function's own start-to-close, if that is less."""

    seconds: float
    overran: bool = False

    def __call__(
        self,
        name: str,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        began = time.monotonic()
        try:
            return self._within_its_time(name, function, args, kwargs)
        finally:
            if place is not None:
                place.seat.function_took = time.monotonic() - began

    def _within_its_time(
        self,
        name: str,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        seconds, message = time_limit(name, self.seconds)
        if not seconds:
            return function(*args, **kwargs)
        before = signal.signal(signal.SIGALRM, _raise_timeout)
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            if place is not None:
                # The sentinel counts in half seconds and looks for exactly 0.
                place.timer.value = math.ceil(seconds) + _GRACE
            try:
                return function(*args, **kwargs)
            finally:
                _stop_clock()
        except TimeoutException as exc:
            self.overran = True
            _drop_connections()
            raise TimeoutError(message) from exc
        finally:
            signal.signal(signal.SIGALRM, before)


def _raise_timeout(signum: int, frame: object) -> None:
    raise TimeoutException


def _drop_connections() -> None:
    """A time-out may hit any line of any library. A connection inside `atomic()` may believe
    that it is still there: nothing that it writes would ever be committed."""
    for connection in connections.all(initialized_only=True):
        with suppress(Exception):
            connection.connection.close()
        del connections[connection.alias]


def _end_process() -> None:
    """For the same reason this process is not used again.

    django-q2 replaces a worker whose memory passed a limit without calling its task a failure.
    An orderly exit would wait for threads, and an async function may still run in one.
    """
    Conf.MAX_RSS = 1
    last = threading.Timer(1.0, os._exit, (0,))
    last.daemon = True
    last.start()
