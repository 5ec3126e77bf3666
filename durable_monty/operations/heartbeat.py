from __future__ import annotations

from durable_monty import codec
from durable_monty.functions import policy_of
from durable_monty.models import Call
from durable_monty.models.clock import database_now
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.schedule import after
from durable_monty.operations.transactions import write


def beat_call(claimed: ClaimedCall, progress: float | None, message: str, *, using: str) -> bool:
    """Records a heartbeat of a running attempt; returns False if its claim no longer holds."""
    with write(using):
        held = Call.objects.using(using).filter(pk=claimed.pk, claim=claimed.token).open()
        call = held.select_for_update().first()
        if call is None:
            return False
        now = database_now(using)
        call.heartbeat_by = after(now, policy_of(call).timeouts.heartbeat)
        call.note_deadline()
        note_progress(call, progress, message)
        call.save(
            using=using,
            update_fields=["heartbeat_by", "deadline_at", "progress", "progress_message"],
        )
    return True


def note_progress(call: Call | NewCall, progress: float | None, message: str) -> None:
    if progress is not None:
        call.progress = min(1.0, max(0.0, float(progress)))
    if message:
        call.progress_message = codec.clean_text(message, 500)
