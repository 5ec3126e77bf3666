"""The calls whose functions run in a worker."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from durable_monty.models import Call
from durable_monty.operations.new_calls import NewCall

_NAMED = 5


@dataclass(frozen=True, slots=True)
class RunningCall:
    """A call whose function runs since `since`, by the monotonic clock.

    `token` is the claim that it is answered with, if `call` was read again after its start.
    """

    call: Call | NewCall
    since: float = field(default_factory=time.monotonic)
    token: uuid.UUID | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.since

    @property
    def claim(self) -> tuple[int, uuid.UUID] | None:
        """The row and the token that it is answered with; None while it has no row."""
        if isinstance(self.call, NewCall):
            claimed = self.call.claimed
            return None if claimed is None else (claimed.pk, claimed.token)
        token = self.token or self.call.claim
        return None if token is None else (self.call.pk, token)

    @property
    def key(self) -> tuple[uuid.UUID, int, int]:
        """Identifies the attempt."""
        return self.call.execution_id, self.call.call_id, self.call.attempt

    def __str__(self) -> str:
        call = self.call
        where = f"call {call.call_id} of execution {call.execution_id}"
        return f"{call.function} ({where}, for {self.seconds:.0f} s)"


def abandoned(running: Sequence[RunningCall], *, using: str) -> list[RunningCall]:
    """Returns the calls whose answers would be refused, because they have timed out, are answered
    already, or were withdrawn."""
    claims = {each.claim for each in running}
    calls = Call.objects.using(using).filter(pk__in=[claim[0] for claim in claims if claim])
    run = set(calls.open().values_list("pk", "claim"))
    return [
        each
        for each in running
        if (isinstance(each.call, NewCall) and each.call.is_withdrawn)
        or (each.claim is not None and each.claim not in run)
    ]


def named(running: Sequence[RunningCall]) -> str:
    """Returns the first calls as text, and how many more there are."""
    names = [str(each) for each in running[:_NAMED]]
    if (more := len(running) - _NAMED) > 0:
        names.append(f"{more} more")
    return ", ".join(names)
