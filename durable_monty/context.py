"""What a running function can learn of its call, and tell about itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime

from durable_monty.exceptions import CallCancelled, NoCurrentCall
from durable_monty.models import Call
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.heartbeat import beat_call, note_progress
from durable_monty.operations.new_calls import NewCall

# Seconds between looks at the database, however often a function asks.
_LOOK_INTERVAL = 0.5


@dataclass(slots=True)
class CallContext:
    """The call that is running. `deadline`: when this attempt or the whole call times out, the
    sooner; None if neither does. `idempotency_key` is the same in every attempt."""

    execution_id: str
    call_id: int
    function: str
    attempt: int
    idempotency_key: str
    deadline: datetime | None
    _call: Call | NewCall
    _using: str
    _is_held: bool = True
    _looked_at: float = field(default_factory=time.monotonic)

    def heartbeat(self, progress: float | None = None, message: str = "") -> None:
        """Says that the function is alive; `progress` from 0 to 1. It is written at once, or, in
        the first moments of a call, with its row."""
        claimed = self._claimed
        if claimed is None:
            note_progress(self._call, progress, message)
            return
        self._is_held = beat_call(claimed, progress, message, using=self._using)
        self._looked_at = time.monotonic()

    def cancelled(self) -> bool:
        """Whether nobody waits for this attempt any more: it was withdrawn, answered by hand,
        timed out, or its lease was lost. Cheap: it looks at the database twice a second."""
        if isinstance(self._call, NewCall) and self._call.is_withdrawn:
            return True
        claimed = self._claimed
        if claimed is None:
            return False
        if self._is_held and time.monotonic() - self._looked_at >= _LOOK_INTERVAL:
            held = Call.objects.using(self._using).filter(pk=claimed.pk, claim=claimed.token)
            self._is_held = held.open().exists()
            self._looked_at = time.monotonic()
        return not self._is_held

    def check_cancelled(self) -> None:
        """Raises `CallCancelled` if `cancelled()`."""
        if self.cancelled():
            raise CallCancelled(f"Nobody waits for {self.function}() any more.")

    @property
    def _claimed(self) -> ClaimedCall | None:
        return (
            self._call.claimed if isinstance(self._call, NewCall) else ClaimedCall.of(self._call)
        )


_current: ContextVar[CallContext] = ContextVar("durable_monty_call")


def current_call() -> CallContext:
    """The call of the function that is running. Raises `NoCurrentCall` outside of one."""
    try:
        return _current.get()
    except LookupError:
        raise NoCurrentCall from None


@contextmanager
def running(call: Call | NewCall, *, using: str) -> Iterator[None]:
    """Makes `call`, a started attempt, the current one."""
    deadlines = (call.attempt_end_by, call.close_by)
    context = CallContext(
        execution_id=str(call.execution_id),
        call_id=call.call_id,
        function=call.function,
        attempt=call.attempt,
        idempotency_key=call.idempotency_key,
        deadline=min((at for at in deadlines if at is not None), default=None),
        _call=call,
        _using=using,
    )
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
