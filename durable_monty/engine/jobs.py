"""The calls that a worker submits to an executor, and the answers that it fetches."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from django.db import Error

from durable_monty import conf, operations
from durable_monty.exceptions import ExecutorUnavailable, JobLost
from durable_monty.executors.base import Executor, JobStatus
from durable_monty.functions import FUNCTION_REGISTRY, policy_of
from durable_monty.models import Call, CallStatus
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.attempts import release_calls, start_attempts, unstart_attempts
from durable_monty.operations.log import log_call, log_refusal

logger = logging.getLogger("durable_monty")

# Seconds between polls of a new job, ...
JOB_INTERVAL = 0.5
# ... between checks whether executions still need their jobs, and, while the engine has all the
# jobs that it may have, whether it takes more.
_TEND_INTERVAL, FULL_INTERVAL = 1.0, 0.1
# While an engine is out of reach: the first and the longest pause, and between warnings.
_FIRST_PAUSE, _MAX_PAUSE, _WARN_INTERVAL = 1.0, 30.0, 60.0


class Jobs:
    """The jobs of one executor of a worker."""

    def __init__(self, executor: Executor, using: str) -> None:
        self.executor, self.using = executor, using
        self.executors = executor.serves()
        self.worker_id: int | None = None
        self._retry_at = self._warned_at = -_WARN_INTERVAL
        self._pause = 0.0
        # Calls by the ids of their jobs, until the end of the job is known.
        self._submitted: dict[str, ClaimedCall] = {}
        self._tended_at = self._renewed_at = 0.0
        self._reported: list[tuple[str, JobStatus]] = []

    @property
    def is_full(self) -> bool:
        """Whether the engine has as many jobs of this worker as it may have."""
        return self.executor.waiting > 0 and self.executor.capacity() <= 0

    def submit(self) -> int:
        """Claims as many calls as the executor takes, and submits them."""
        if time.monotonic() < self._retry_at:
            return 0
        functions, room = FUNCTION_REGISTRY.served_by(self.executors), self.executor.capacity()
        claims = operations.claim_calls(
            functions, self.executors, room, using=self.using, worker_id=self.worker_id
        )
        if not claims:
            return 0
        if self.executor.starts_attempts:
            rows = Call.objects.using(self.using).in_bulk([claimed.pk for claimed in claims])
            tokens, unstart = {claimed.pk: claimed.token for claimed in claims}, release_calls
            calls = [call for pk, call in rows.items() if call.claim == tokens[pk]]
        else:
            calls, unstart = start_attempts(claims, using=self.using), unstart_attempts
        for number, call in enumerate(calls):
            try:
                job_id = self.executor.submit_call(call)
            except ExecutorUnavailable as exc:
                self._pause = min(_MAX_PAUSE, 2 * self._pause or _FIRST_PAUSE)
                self._retry_at = time.monotonic() + self._pause
                self._warn(exc)
                unstart([ClaimedCall.of(each) for each in calls[number:]], using=self.using)
                return number
            except Exception as exc:  # noqa: BLE001  (logged)
                log_call(logging.ERROR, "call could not be submitted", call, exc, exc)
                policy = policy_of(call).retry_policy
                answer = Answer.of_exception(exc).under(policy, exc, call.failures + 1)
                answers = [(ClaimedCall.of(call), answer)]
                for refusal in operations.settle_attempts(answers, using=self.using):
                    log_refusal(refusal)
                continue
            if self.executor.may_block:
                self._submitted[job_id] = ClaimedCall.of(call)
                self.executor.waiting += 1
            if not self.executor.records_answers:
                self._watch(call, job_id)
        self._pause = 0.0
        return len(claims)

    def check(self) -> int:
        """Records the jobs that the engine has reported as ended, and polls those that are due,
        including jobs of a worker that died."""
        if self.executor.records_answers:
            return 0
        self._reported += self.executor.take_job_answers()
        reported = len(self._reported)
        # Not before: if the database is out of reach, they are tried again.
        self._reported = self._record(self._reported)
        reported -= len(self._reported)
        calls = operations.claim_jobs(self.executors, conf.current().BATCH_SIZE, using=self.using)
        for number, call in enumerate(calls):
            try:
                self._check_job(call)
            except Error:
                raise
            except ExecutorUnavailable as exc:
                # A refusal may take seconds, so the others are not polled now.
                self._warn(exc)
                for each in calls[number:]:
                    self._watch(each, each.job_id)
                break
            except Exception as exc:  # noqa: BLE001  (logged)
                # The executor failed. The job is polled again when its lease runs out.
                log_call(logging.ERROR, "job not checked", call, exc, exc)
        return reported + len(calls)

    def tend(self) -> None:
        """Renews the claims of jobs that wait in their engine, and revokes jobs that no execution
        needs any more."""
        now, renews_after = time.monotonic(), conf.current().LEASE / 3
        interval = FULL_INTERVAL if self.is_full else _TEND_INTERVAL
        if now - self._tended_at < min(interval, renews_after) or not self._submitted:
            return
        self._tended_at = now
        pks = [claimed.pk for claimed in self._submitted.values()]
        calls = Call.objects.using(self.using).only(
            "claim", "status", "started_at", "completed_by_name", "job_id"
        )
        rows = calls.in_bulk(pks)
        waiting = {}
        for job_id, claimed in list(self._submitted.items()):
            call = rows.get(claimed.pk)
            if call is not None and call.is_accepted:
                del self._submitted[job_id]
                continue
            if call is not None and call.is_open and call.claim == claimed.token:
                if call.started_at is None or not self.executor.starts_attempts:
                    waiting[job_id] = claimed
                continue
            del self._submitted[job_id]
            if (
                call is not None
                and self.executor.starts_attempts
                and call.started_at is not None
                and call.status != CallStatus.CANCELLED
                and call.claim == claimed.token
                and not call.completed_by_name
            ):
                continue  # the job itself has answered its call
            try:
                self.executor.revoke_job(job_id)
            except Exception as exc:  # noqa: BLE001  (its answer will be refused)
                facts = {"job": job_id, "reason": str(exc)}
                logger.warning("job not revoked: %s: %s", job_id, exc, extra=facts)
        self.executor.waiting = len(waiting)
        if self.executor.starts_attempts and now - self._renewed_at >= renews_after:
            self._renewed_at = now
            if kept := self._still_queued(waiting):
                operations.renew_calls(kept, using=self.using)

    def _watch(self, call: Call, job_id: str) -> None:
        started_at = call.started_at or datetime.now(UTC)
        age = (datetime.now(UTC) - started_at).total_seconds()
        interval = min(self.executor.poll, max(JOB_INTERVAL, age / 2))
        if self.executor.keeps_leases:
            interval = conf.current().LEASE
        operations.watch_job(ClaimedCall.of(call), job_id, interval, using=self.using)

    def _check_job(self, call: Call) -> None:
        try:
            job = self.executor.check_job(call.job_id)
        except JobLost as exc:
            log_call(logging.WARNING, "call is submitted again", call, exc)
            operations.lose_calls([ClaimedCall.of(call)], using=self.using)
            return
        except LookupError:
            why = f"its job {call.job_id} is unknown"
            log_call(logging.WARNING, "call is submitted again", call, why)
            operations.release_calls([ClaimedCall.of(call)], using=self.using)
            return
        if job["status"] in ("finished", "failed"):
            self._reported += self._record([(call.job_id, job)])
        else:
            self._watch(call, call.job_id)

    def _record(self, jobs: Sequence[tuple[str, JobStatus]]) -> list[tuple[str, JobStatus]]:
        """Returns the jobs to record later: others have locked their executions."""
        if not jobs:
            return []
        blocked: list[str] = []
        for refusal in operations.settle_jobs(jobs, using=self.using, blocked=blocked):
            log_refusal(refusal)
        left = [(job_id, job) for job_id, job in jobs if job_id in blocked]
        jobs = [(job_id, job) for job_id, job in jobs if job_id not in blocked]
        for job_id, _job in jobs:
            if self._submitted.pop(job_id, None):
                self.executor.waiting -= 1
        self.executor.wake()
        for job_id, _job in jobs:
            try:
                self.executor.forget_job(job_id)
            except Exception as exc:  # noqa: BLE001  (the engine drops it after a while)
                facts = {"job": job_id, "reason": str(exc)}
                logger.info("job not forgotten: %s: %s", job_id, exc, extra=facts)
        return left

    def _warn(self, exc: ExecutorUnavailable) -> None:
        if time.monotonic() - self._warned_at < _WARN_INTERVAL:
            return
        self._warned_at = time.monotonic()
        logger.warning(
            "calls are not submitted now, and will be tried again: %s",
            exc,
            extra={"executor": exc.executor, "reason": str(exc)},
        )

    def _still_queued(self, waiting: Mapping[str, ClaimedCall]) -> list[ClaimedCall]:
        """Returns the claims of jobs that are in the queue of the engine, or may be.

        If the engine has lost a job, the lease of its call runs out and it is submitted again.
        """
        kept = []
        for number, (job_id, claimed) in enumerate(waiting.items()):
            try:
                if self.executor.is_queued(job_id):
                    kept.append(claimed)
            except ExecutorUnavailable as exc:
                # The jobs may be there when the engine is back. A refusal may take seconds, and
                # leases run out meanwhile, so the others are not queried now.
                self._warn(exc)
                return [*kept, *list(waiting.values())[number:]]
        return kept
