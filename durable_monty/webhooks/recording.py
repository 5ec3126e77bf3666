"""Records the answers that webhook requests bring."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from durable_monty import codec, operations
from durable_monty.exceptions import (
    CallNotFound,
    CallSettled,
    InvalidValue,
    JobNotFound,
    LeaseLost,
)
from durable_monty.models import Attempt, AttemptOutcome, Call
from durable_monty.operations.answer import Answer
from durable_monty.operations.job_answers import final_answer
from durable_monty.webhooks.bodies import Posted
from durable_monty.webhooks.tokens import CallToken

_REASON = "Posted to the call's URL."
_MAX_JOB_ID = 200  # characters


def record_under_token(token: CallToken, posted: Posted) -> bool:
    """Records the answer of the attempt or the call that `token` is for.

    Returns False if it was recorded before. Raises what `operations.settle_job` raises, and
    `CallNotFound`.
    """
    if posted.job_id not in (None, token.job_id):
        raise InvalidValue("job_id", "is not the one that this token is for")
    if token.job_id:
        return record_job(token.job_id, posted.answer, using=token.using)
    execution_id, answer = uuid.UUID(token.execution_id), posted.answer
    calls = Call.objects.using(token.using)
    call = calls.filter(execution_id=execution_id, call_id=token.call_id).first()
    if call is None:
        raise CallNotFound(execution_id, token.call_id)
    if answer.result is None:
        answer = final_answer(answer, call)
    try:
        operations.settle_by_hand(
            execution_id, token.call_id, answer, using=token.using, reason=_REASON
        )
    except CallSettled:
        # Senders repeat a request whose response they did not get.
        call.refresh_from_db(using=token.using)
        if not answer.fit(call.function).is_on(call):
            raise
        return False
    return True


def record_job(
    job_id: str, answer: Answer, *, using: str, executors: Collection[str] | None = None
) -> bool:
    """Records the answer of a job, as `operations.settle_job` does.

    Returns False if it was recorded before, also for an error that is being retried.
    """
    if codec.clean_text(job_id, _MAX_JOB_ID) != job_id:
        raise JobNotFound(job_id)
    try:
        return operations.settle_job(job_id, answer, using=using, executors=executors)
    except LeaseLost as refusal:
        # A retried error gives up its claim. So a repeated request is told from one that is late
        # by the last attempt, which failed with just this error.
        attempts = Attempt.objects.using(using).filter(
            call__execution=uuid.UUID(str(refusal.execution_id)), call__call_id=refusal.call_id
        )
        last = attempts.order_by("-number").first()
        if answer.result is not None or last is None:
            raise
        recorded = (last.outcome, last.error_type, last.error_message)
        error_type = answer.error_type.rpartition(".")[2]
        if recorded != (AttemptOutcome.FAILED, error_type, answer.error_message):
            raise
        return False
