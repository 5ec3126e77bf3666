"""Reads server-sent events, and decides when to connect again. It does no I/O itself."""

from __future__ import annotations

import json
import time

from durable_monty.client.answers import Event, Execution
from durable_monty.client.exchange import named
from durable_monty.exceptions import DurableMontyError, ExecutionNotCompleted, WaitTimeout

# Seconds. The server sends a comment at least every 15.
SILENCE = 40.0
_RETRY, _LONGEST = 3.0, 30.0
_MARGIN = 0.5
_NO_MORE_EVENTS = 204
_LAST = ("end", "gone")


class Following:
    """Keeps the state of following one URL over several connections.

    `deadline` is a time of `time.monotonic`. None follows as long as there are events.
    """

    _is_list = False

    def __init__(self, deadline: float | None = None) -> None:
        self.is_over, self.failures = False, 0
        self._deadline, self._retry, self._last_id = deadline, _RETRY, ""
        self._fields: dict[str, str] = {}
        self._goes_on = False

    @property
    def headers(self) -> dict[str, str]:
        # What came of an event before the connection broke is not continued.
        self._fields = {}
        accepted = {"Accept": "text/event-stream"}
        return accepted | ({"Last-Event-ID": self._last_id} if self._last_id else {})

    @property
    def silence(self) -> float:
        """Returns the seconds that a connection may be silent."""
        return min(SILENCE, max(0.05, self._left))

    @property
    def pause(self) -> float:
        """Returns the seconds to wait before the next connection."""
        if self._goes_on:
            return 0.0
        longest: float = min(self._retry * 2**self.failures, _LONGEST)
        return max(0.0, min(longest, self._left))

    @property
    def is_late(self) -> bool:
        return self._left <= 0

    def ends_before(self, silence: float) -> bool:
        """Returns whether the deadline is nearer than the read timeout of this connection.

        The timeout of a connection cannot be changed, so another connection goes on.
        """
        self._goes_on = self._left < silence - _MARGIN
        return self._goes_on

    def begins(self, status: int) -> None:
        """Notes that a connection was made, with this status."""
        self._goes_on = False
        self.is_over = status == _NO_MORE_EVENTS

    def refused(self, exc: DurableMontyError, retries: int) -> None:
        """Raises the error of the server, unless another attempt may succeed."""
        self.failures += 1
        # A proxy whose server is being restarted says 503 without the API's JSON.
        is_passing = getattr(exc, "http_status", getattr(exc, "status", 0)) in (429, 503)
        if not is_passing or self.failures > retries:
            raise exc

    def take(self, line: str) -> Event | None:
        """Takes a line without its end. Returns the event that it completes, if any.

        Raises the error of an event "refused".
        """
        # The server works: an older failure no longer counts.
        self.failures = 0
        if line:
            name, _, value = line.partition(":")
            self._fields[name] = value.removeprefix(" ")
            return None
        fields, self._fields = self._fields, {}
        if "retry" in fields:
            self._retry = int(fields["retry"]) / 1_000
        self._last_id = fields.get("id", self._last_id)
        if "event" not in fields:
            return None
        event = Event(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
        if event.name == "refused":
            raise named(403, event.data["code"], event.data["message"], {})
        self.is_over = event.name == "end" or (event.name in _LAST and not self._is_list)
        return event

    @property
    def _left(self) -> float:
        return SILENCE if self._deadline is None else self._deadline - time.monotonic()


class FollowingList(Following):
    """Follows a list, which does not end when an execution leaves it."""

    _is_list = True


def output_of(execution: Execution, timeout: float) -> object:
    """Returns the output. Raises `WaitTimeout` and `ExecutionNotCompleted` like the service."""
    if not execution.is_finished:
        raise WaitTimeout(execution.execution_id, execution.status, timeout)
    if execution.status != "completed":
        error = execution.error
        text = f"{error.type}: {error.message}" if error else ""
        raise ExecutionNotCompleted(execution.execution_id, execution.status, text)
    return execution.output


def waiting(timeout: float) -> Following:
    """Follows an execution for `timeout` seconds at most."""
    return Following(time.monotonic() + timeout)
