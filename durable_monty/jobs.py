"""Calls that a worker hands to its executor, and the answers that it asks it for."""

from __future__ import annotations

import logging

from django.db import Error

from durable_monty import conf, operations
from durable_monty.exceptions import CallNotFound, IllegalTransition
from durable_monty.executors.base import Executor
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.models import Call
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.log import log_call, log_refusal

# Seconds.
_JOB_INTERVAL = 0.5


class Jobs:
    """The jobs of one worker, in the terms of its executor."""

    def __init__(self, executor: Executor, using: str) -> None:
        self.executor, self.using = executor, using
        self.executors = executor.serves()
        self.worker_id: int | None = None

    def submit(self) -> int:
        """Claims calls, as many as the executor takes, and hands them over."""
        claims = operations.claim_calls(
            FUNCTION_REGISTRY.served_by(self.executors),
            self.executors,
            self.executor.capacity(),
            using=self.using,
            worker_id=self.worker_id,
        )
        calls = operations.start_attempts(claims, using=self.using) if claims else []
        for call in calls:
            self._submit(call)
        return len(claims)

    def _submit(self, call: Call) -> None:
        try:
            job_id = self.executor.submit_call(call)
        except Exception as exc:  # noqa: BLE001  (logged)
            log_call(logging.ERROR, "call could not be submitted", call, exc, exc)
            self._settle(call, Answer.of_exception(exc))
            return
        if not self.executor.records_answers:
            operations.watch_job(ClaimedCall.of(call), job_id, _JOB_INTERVAL, using=self.using)

    def check(self) -> int:
        """Asks for the jobs whose turn it is, those of a worker that died among them."""
        if self.executor.records_answers:
            return 0
        calls = operations.claim_jobs(self.executors, conf.current().BATCH_SIZE, using=self.using)
        for call in calls:
            try:
                self._check_job(call)
            except Error:
                raise
            except Exception as exc:  # noqa: BLE001  (logged)
                # The executor's: the others are asked for all the same, this one when its lease
                # has run out.
                log_call(logging.ERROR, "job not checked", call, exc, exc)
        return len(calls)

    def _check_job(self, call: Call) -> None:
        try:
            job = self.executor.check_job(call.job_id)
            match job["status"]:
                case "finished":
                    self._settle(call, Answer.of_result(job.get("result"), call.function))
                case "failed":
                    self._settle(
                        call, Answer.of_error("RuntimeError", job.get("error", "The job failed."))
                    )
                case _:
                    operations.watch_job(
                        ClaimedCall.of(call), call.job_id, _JOB_INTERVAL, using=self.using
                    )
        except LookupError:
            why = f"its job {call.job_id} is unknown"
            log_call(logging.WARNING, "call is submitted again", call, why)
            operations.release_calls([ClaimedCall.of(call)], using=self.using)

    def _settle(self, call: Call, answer: Answer) -> None:
        try:
            operations.settle_attempt(ClaimedCall.of(call), answer, using=self.using)
        except (IllegalTransition, CallNotFound) as exc:
            log_refusal(exc)
