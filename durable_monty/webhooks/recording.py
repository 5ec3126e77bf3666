"""Recording what was posted."""

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
_LONGEST_JOB_ID = 200


def record_under_token(token: CallToken, posted: Posted) -> bool:
    """As `operations.settle_job`; `CallNotFound` too."""
    if posted.job_id not in (None, token.job_id):
        raise InvalidValue("job_id", "is not the one that this token is for")
    if token.job_id:
        return record_job(token.job_id, posted.answer, using=token.using)
    return _record_waiting(token, posted.answer)


def record_job(
    job_id: str, answer: Answer, *, using: str, executors: Collection[str] | None = None
) -> bool:
    """As `operations.settle_job`. An error that was recorded before and is tried again is no
    refusal either."""
    if codec.clean_text(job_id, _LONGEST_JOB_ID) != job_id:
        raise JobNotFound(job_id)
    try:
        return operations.settle_job(job_id, answer, using=using, executors=executors)
    except LeaseLost as refusal:
        if _was_recorded(refusal, answer, using):
            return False
        raise


def _was_recorded(refusal: LeaseLost, answer: Answer, using: str) -> bool:
    """Whether the last attempt failed with just this error."""
    if answer.result is not None:
        return False
    attempts = Attempt.objects.using(using).filter(
        call__execution=uuid.UUID(str(refusal.execution_id)), call__call_id=refusal.call_id
    )
    last = attempts.order_by("-number").first()
    return last is not None and (last.outcome, last.error_type, last.error_message) == (
        AttemptOutcome.FAILED,
        answer.error_type.rpartition(".")[2],
        answer.error_message,
    )


def _record_waiting(token: CallToken, answer: Answer) -> bool:
    calls = Call.objects.using(token.using)
    execution_id = uuid.UUID(token.execution_id)
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
        call.refresh_from_db(using=token.using)
        if not answer.is_on(call):
            raise
        return False
    return True
