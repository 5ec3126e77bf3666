from __future__ import annotations

import json
from typing import Any

from durable_monty.models import Call


def body_of(call: Call, job_id: str, callback_url: str | None) -> dict[str, Any]:
    """Returns the description of a call that a service is sent.

    Arguments are JSON. Values that JSON lacks are tagged as in `durable_monty.codec`.
    """
    return {
        "function": call.function,
        "args": json.loads(call.args),
        "kwargs": json.loads(call.kwargs),
        "job_id": job_id,
        "idempotency_key": call.idempotency_key,
        "execution_id": str(call.execution_id),
        "call_id": call.call_id,
        "attempt": call.attempt,
        "callback_url": callback_url,
    }
