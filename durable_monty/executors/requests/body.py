from __future__ import annotations

from typing import Any

from durable_monty import codec
from durable_monty.models import Call


def body_of(call: Call, job_id: str, callback_url: str | None) -> dict[str, Any]:
    """Returns the description of a call that a service is sent.

    Arguments are JSON. A record is an object; other values that JSON lacks are tagged as in
    `durable_monty.codec`.
    """
    return {
        "function": call.function,
        "args": codec.load_with_objects(call.args),
        "kwargs": codec.load_with_objects(call.kwargs),
        "job_id": job_id,
        "idempotency_key": call.idempotency_key,
        "execution_id": str(call.execution_id),
        "call_id": call.call_id,
        "attempt": call.attempt,
        "callback_url": callback_url,
    }
