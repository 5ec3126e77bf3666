"""Runs calls in a worker of the cluster. Only the ids of calls travel to it."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.conf import settings
from django.db import Error, connections, reset_queries
from django.utils import timezone
from django_q.conf import Conf
from django_q.exceptions import TimeoutException

from durable_monty.executors.batch import Batch
from durable_monty.executors.django_q.board import Seat
from durable_monty.executors.django_q.channels import Bell
from durable_monty.executors.transactions import drop_connections
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.log import log_calls

# Seconds from the time-out of a function until its process is killed.
_GRACE = 3


@dataclass(frozen=True, slots=True)
class Place:
    """The place of this process in a cluster of `runworker`. `timer` is django-q2's: the seconds
    after which the sentinel kills the process, or -1."""

    seat: Seat
    timer: Any
    answers: Bell

    def show(self, claimed: ClaimedCall) -> None:
        """Shows the main process which call runs here."""
        self.seat.token, self.seat.call = claimed.token.hex.encode(), claimed.pk


# None in a plain `qcluster`.
place: Place | None = None


def task_for(claims: Sequence[ClaimedCall], using: str) -> dict[str, Any]:
    """Returns a django-q2 task. django-q2 neither saves it nor delivers it again."""
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
    """Returns the claims in a task and their database; None for a task of the project."""
    if task.get("func") is not run_task:
        return None
    pks, token, using = task["args"]
    return _claims(pks, token), using


def _claims(pks: Sequence[int], token: str) -> list[ClaimedCall]:
    return [ClaimedCall(pk, uuid.UUID(token)) for pk in pks]


def run_task(pks: Sequence[int], token: str, using: str) -> None:
    """Runs claimed calls and records their answers."""
    invocation = Invocation(_stop_clock())
    batch = Batch(
        using=using,
        invoke=invocation,
        begin=place.show if place is not None else lambda claimed: None,
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
            # It may be in any state, so it is not used again. django-q2 replaces a worker whose
            # memory passed a limit without calling its task a failure. An orderly exit would wait
            # for threads, and an async function may still run in one.
            Conf.MAX_RSS = 1
            last = threading.Timer(1.0, os._exit, (0,))
            last.daemon = True
            last.start()


def time_limit(name: str, own: float | None, left: float) -> tuple[float, str]:
    """Returns the seconds that a function may take, or 0 for no limit, and the error message.

    The limit is its `own`, the start-to-close, or the seconds `left` of django-q2's time-out, if
    they are fewer.
    """
    if own is not None and (not left or own < left):
        return own, f"start-to-close: {name}() did not end within {own:g} seconds"
    return left, f"{name}() ran longer than {Conf.TIMEOUT} seconds, the timeout in Q_CLUSTER"


def _stop_clock() -> float:
    """Stops django-q2's time-out and returns the seconds that were left; 0 if there is none."""
    # It runs only while a function runs: it must not fire while the answer is recorded.
    seconds, _interval = signal.setitimer(signal.ITIMER_REAL, 0)
    if place is not None:
        place.timer.value = -1
    return seconds


@dataclass(slots=True)
class Invocation:
    """Calls functions within their time limits. `seconds` are left of django-q2's time-out; 0 if
    it has none."""

    seconds: float
    overran: bool = False

    def __call__(
        self,
        name: str,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        own = FUNCTION_REGISTRY[name].timeouts.start_to_close
        seconds, message = time_limit(name, own, self.seconds)
        began = time.monotonic()
        try:
            if not seconds:
                return function(*args, **kwargs)
            return self._run_within(seconds, message, partial(function, *args, **kwargs))
        finally:
            if place is not None:
                place.seat.function_took = time.monotonic() - began

    def _run_within(self, seconds: float, message: str, run: Callable[[], Any]) -> Any:
        def overrun(signum: int, frame: object) -> None:
            raise TimeoutException

        before = signal.signal(signal.SIGALRM, overrun)
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            if place is not None:
                # The sentinel counts in half seconds and looks for exactly 0.
                place.timer.value = math.ceil(seconds) + _GRACE
            try:
                return run()
            finally:
                _stop_clock()
        except TimeoutException as exc:
            self.overran = True
            # It may hit any line of any library. A connection may believe that it is still inside
            # `atomic()`: nothing that it writes would ever be committed.
            drop_connections()
            raise TimeoutError(message) from exc
        finally:
            signal.signal(signal.SIGALRM, before)
