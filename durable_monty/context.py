"""Tells a running function about its call, and lets it report its progress."""

from __future__ import annotations

import time
from datetime import datetime

from durable_monty.exceptions import CallCancelled, NoCurrentCall
from durable_monty.logging import current
from durable_monty.models import Call
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.attempts import beat_call, note_progress
from durable_monty.operations.new_calls import NewCall

# Seconds between polls of the database, however often a function calls `cancelled()`.
_POLL_INTERVAL = 0.5


class CallContext:
    """The call of the function that is running."""

    __slots__ = ("_call", "_is_claimed", "_polled_at", "_using")

    def __init__(self, call: Call | NewCall, using: str) -> None:
        self._call, self._using = call, using
        self._is_claimed, self._polled_at = True, time.monotonic()

    @property
    def execution_id(self) -> str:
        return str(self._call.execution_id)

    @property
    def call_id(self) -> int:
        return self._call.call_id

    @property
    def function(self) -> str:
        return self._call.function

    @property
    def attempt(self) -> int:
        return self._call.attempt

    @property
    def idempotency_key(self) -> str:
        """The same in every attempt."""
        return self._call.idempotency_key

    @property
    def deadline(self) -> datetime | None:
        """When this attempt or the whole call times out, whichever is sooner; None if never."""
        deadlines = (self._call.attempt_end_by, self._call.close_by)
        return min((at for at in deadlines if at is not None), default=None)

    def heartbeat(self, progress: float | None = None, message: str = "") -> None:
        """Reports that the function is alive; `progress` is a number from 0 to 1.

        The report is written at once, or with the call's row if that is not written yet.
        """
        claimed = self._claimed
        if claimed is None:
            note_progress(self._call, progress, message)
            return
        self._is_claimed = beat_call(claimed, progress, message, using=self._using)
        self._polled_at = time.monotonic()

    def cancelled(self) -> bool:
        """Returns whether nobody waits for this attempt any more: it was withdrawn, answered by
        hand, timed out, or lost its lease.

        It is cheap to call: it polls the database at most twice a second.
        """
        if isinstance(self._call, NewCall) and self._call.is_withdrawn:
            return True
        claimed = self._claimed
        if claimed is None:
            return False
        if self._is_claimed and time.monotonic() - self._polled_at >= _POLL_INTERVAL:
            claimed_rows = Call.objects.using(self._using).filter(
                pk=claimed.pk, claim=claimed.token
            )
            self._is_claimed = claimed_rows.open().exists()
            self._polled_at = time.monotonic()
        return not self._is_claimed

    def check_cancelled(self) -> None:
        """Raises `CallCancelled` if `cancelled()`."""
        if self.cancelled():
            raise CallCancelled(f"Nobody waits for {self.function}() any more.")

    @property
    def _claimed(self) -> ClaimedCall | None:
        return (
            self._call.claimed if isinstance(self._call, NewCall) else ClaimedCall.of(self._call)
        )


def current_call() -> CallContext:
    """Returns the call of the function that is running. Raises `NoCurrentCall` outside of one."""
    try:
        return current.get()
    except LookupError:
        raise NoCurrentCall from None


class running:  # noqa: N801  (a context manager; a generator takes three times as long)
    """Makes `call`, a started attempt, the current one."""

    __slots__ = ("_context", "_token")

    def __init__(self, call: Call | NewCall, *, using: str) -> None:
        self._context = CallContext(call, using)

    def __enter__(self) -> None:
        self._token = current.set(self._context)

    def __exit__(self, *exc_info: object) -> None:
        current.reset(self._token)
