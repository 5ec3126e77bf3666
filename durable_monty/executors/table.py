from __future__ import annotations

from typing import Any

from durable_monty import codec
from durable_monty.exceptions import CallNotFound
from durable_monty.executors.base import Executor, JobStatus
from durable_monty.models import Call, CallStatus


class TableExecutor(Executor):
    """An executor that records answers in the call table itself. A job is the row of its call."""

    records_answers = True

    def __init__(self) -> None:
        self.using = "default"

    def start(self, using: str, worker_id: int | None) -> None:
        self.using = using

    def check_job(self, job_id: str) -> JobStatus:
        call = Call.objects.using(self.using).filter(pk=job_id).first()
        if call is None:
            raise CallNotFound("(any)", job_id)
        match call.status:
            case CallStatus.COMPLETED:
                return {"status": "finished", "result": codec.decode(call.result or "null")}
            case CallStatus.FAILED:
                return {"status": "failed", "error": f"{call.error_type}: {call.error_message}"}
            case CallStatus.CANCELLED:
                return {"status": "failed", "error": "The call was withdrawn."}
            case CallStatus.SUBMITTED if call.started_at is not None:
                return {"status": "started"}
            case _:
                return {"status": "queued"}

    def get_stats(self) -> dict[str, Any]:
        return {}


class NoExecutor(TableExecutor):
    """Runs no calls: other processes claim them (`runworker --no-cluster`)."""

    name = "none"

    def serves(self) -> tuple[str, ...]:
        return ()

    def capacity(self) -> int:
        return 0

    def submit_call(self, call: Call) -> str:
        raise NotImplementedError("This worker runs no calls.")
