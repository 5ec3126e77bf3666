"""What a worker of the cluster does for a call. Only ids travel to it."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.db import Error, connections
from django.utils import timezone
from django_q.conf import Conf
from django_q.exceptions import TimeoutException

from durable_monty.executors.django_q.board import Seat
from durable_monty.executors.django_q.channels import Bell
from durable_monty.executors.run import run_claimed
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.attempts import timeouts_of

logger = logging.getLogger("durable_monty")

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


def task_for(claimed: ClaimedCall, using: str) -> dict[str, Any]:
    """A django-q2 task, of which nothing is saved or delivered twice."""
    return {
        "id": claimed.token.hex,
        "name": f"call-{claimed.pk}",
        "func": run_task,
        "args": (claimed.pk, claimed.token.hex, using),
        "kwargs": {},
        "started": timezone.now(),
        "save": False,
        "ack_failure": True,
    }


def claim_of(task: Mapping[str, Any]) -> tuple[ClaimedCall, str] | None:
    """The claim in a task and its database; None if the task is not one of ours."""
    if task.get("func") is not run_task:
        return None
    pk, token, using = task["args"]
    return ClaimedCall(pk, uuid.UUID(token)), using


def run_task(pk: int, token: str, using: str) -> None:
    """Runs a claimed call and records its answer; django-q2 has nothing to do with either."""
    seconds = _stop_clock()
    if place is not None:
        place.seat.token, place.seat.call = token.encode(), pk
    claimed = ClaimedCall(pk, uuid.UUID(token))
    invocation = Invocation(seconds)
    try:
        run_claimed(claimed, using=using, invoke=invocation)
    except Error:
        logger.exception("call left to its lease", extra={"call": pk})
        connections[using].close()
    finally:
        if place is not None:
            place.seat.call = 0
            place.answers.ring()
        if invocation.overran:
            _end_process()


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
