"""Records the answers of jobs that engines ran, by the ids of the jobs."""

from __future__ import annotations

import builtins
import sys
import uuid
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from durable_monty.exceptions import (
    DurableMontyError,
    JobNotFound,
    UnstorableValue,
    WrongResult,
)
from durable_monty.functions import DEFAULT_EXECUTOR, FUNCTION_REGISTRY, MANUAL_EXECUTOR, policy_of
from durable_monty.models import Call
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.settle import (
    Answered,
    record_answers,
    settle_attempt,
    settle_results,
)
from durable_monty.sandbox import nearest

_LARGEST_KEY = 2**63


class JobAnswer(NamedTuple):
    """How a job ended.

    `answer.error_type` may have its module. `is_final`: another attempt cannot help;
    `retry_after`: the seconds that the engine asks to wait before one.
    """

    job_id: str
    answer: Answer
    is_final: bool = False
    retry_after: float | None = None

    @classmethod
    def of_status(cls, job_id: str, job: Mapping[str, Any], function: str) -> JobAnswer:
        """Reads an executor's `JobStatus` of a job that has ended, for a call of `function`."""
        if job["status"] == "finished":
            return cls(job_id, Answer.of_result(job.get("result"), function), is_final=True)
        answer = Answer.of_error(
            job.get("error_type") or "RuntimeError",
            job.get("error", "The job failed."),
            job.get("traceback", ""),
        )
        return cls(job_id, answer, job.get("is_final", False), job.get("retry_after"))


def job_id_of(call: Call | ClaimedCall) -> str:
    """Returns the id of this attempt's job, for engines that let one choose it."""
    token = call.token if isinstance(call, ClaimedCall) else call.claim
    assert token is not None  # noqa: S101  (only claimed calls are submitted)
    return f"{call.pk}-{token.hex}"


def settle_job(
    job_id: str,
    answer: Answer,
    *,
    using: str,
    is_final: bool = False,
    retry_after: float | None = None,
    executors: Collection[str] | None = None,
) -> bool:
    """Records how a job ended; returns False if the same end was recorded before.

    An error goes through the function's retry policy, unless it `is_final`. Raises `JobNotFound`
    (also if the call belongs to none of `executors`, where these are given), `LeaseLost` if
    another attempt has replaced this one, and `CallSettled` if the call was answered otherwise or
    withdrawn.
    """
    claim = _claim_in(job_id) if executors is None else None
    # Nothing of the call need be read to record a result by its claim: a third of the time.
    is_final_form = not _are_fitted(FUNCTION_REGISTRY.version)
    if claim is not None and is_final_form and settle_results([(claim, answer)], using=using):
        return True
    call = _find(job_id, using)
    if executors is not None and call.executor not in executors:
        raise JobNotFound(job_id)
    claimed = _claim(call, job_id)
    decided = _decided(JobAnswer(job_id, answer, is_final, retry_after), call)
    if _is_recorded(decided, claimed, call):
        return False
    settle_attempt(claimed, decided, using=using)
    return True


def final_answer(answer: Answer, call: Call) -> Answer:
    """Returns an error with the type that the workflow sees; no other attempt follows it."""
    return _decided(JobAnswer("", answer, is_final=True), call)


def settle_jobs(
    jobs: Sequence[tuple[str, Mapping[str, Any]]], *, using: str, blocked: list[str] | None = None
) -> list[DurableMontyError]:
    """Records how several jobs ended, in one transaction, and returns the refusals.

    Each job comes with an executor's `JobStatus`. An end that was recorded before is not refused:
    several workers may learn of it. `blocked` takes the ids of jobs to record later, because
    another transaction has locked their executions. Raises as `record_answers` does.
    """
    answers: dict[ClaimedCall, tuple[str, Answer]] = {}
    refused: list[DurableMontyError] = []
    for job_id, job in jobs:
        try:
            call = _find(job_id, using)
        except JobNotFound as exc:
            refused.append(exc)
            continue
        answer = _decided(JobAnswer.of_status(job_id, job, call.function), call)
        claimed = _claim(call, job_id)
        if not _is_recorded(answer, claimed, call):
            answers[claimed] = job_id, answer
    if not answers:
        return refused
    left: list[Answered] | None = None if blocked is None else []
    given = [(claimed, answer) for claimed, (_job_id, answer) in answers.items()]
    refused += record_answers(given, using=using, blocked=left)
    if blocked is not None and left:
        blocked += [answers[claimed][0] for claimed, _answer in left]
    return refused


@lru_cache(maxsize=1)
def _are_fitted(_version: int) -> bool:
    """Returns whether results of jobs may become other values by their function's annotation."""
    return any(
        entry.conversion.has_result
        for entry in FUNCTION_REGISTRY.values()
        if entry.executor not in (DEFAULT_EXECUTOR, MANUAL_EXECUTOR)
    )


def _is_recorded(answer: Answer, claimed: ClaimedCall, call: Call) -> bool:
    return not call.is_open and call.claim == claimed.token and answer.is_on(call)


def _find(job_id: str, using: str) -> Call:
    calls = Call.objects.using(using)
    key = _key(job_id)
    call = None if key is None else calls.filter(pk=key).first()
    if _claim_in(job_id) is None and (call is None or call.job_id != job_id):
        # The engine's own id, for which there is no index.
        call = calls.filter(job_id=job_id).first() if job_id else None
    if call is None:
        raise JobNotFound(job_id)
    return call


def _key(job_id: str) -> int | None:
    """Returns the key of the call's row, with which our ids begin."""
    key, _, rest = job_id.partition("-")
    if rest and key.isascii() and key.isdecimal() and int(key) < _LARGEST_KEY:
        return int(key)
    return None


def _claim_in(job_id: str) -> ClaimedCall | None:
    """Returns the claim in an id that `job_id_of` has made; None for an engine's own id."""
    key, token = _key(job_id), _token(job_id.partition("-")[2])
    return None if key is None or token is None else ClaimedCall(key, token)


def _claim(call: Call, job_id: str) -> ClaimedCall:
    token = _token(job_id.partition("-")[2]) or call.claim
    if token is None:
        raise JobNotFound(job_id)
    return ClaimedCall(call.pk, token, call=call)


def _token(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(hex=text) if len(text) == 32 else None
    except ValueError:
        return None


def _decided(job: JobAnswer, call: Call) -> Answer:
    """Returns the answer as the workflow sees it, or with the time of the next attempt."""
    answer = job.answer
    if answer.result is not None:
        try:
            return answer.fit(call.function)
        except (WrongResult, UnstorableValue) as exc:
            return Answer.of_exception(exc)
    policy = policy_of(call).retry_policy
    module, _, name = answer.error_type.rpartition(".")
    # A name that another process sent is never imported: only classes that are here already count.
    found = [
        vars(sys.modules.get(module, builtins)).get(name),
        *(each for each in (*policy.non_retryable, *policy.retry_on) if each.__name__ == name),
    ]
    error_class: type[BaseException] = next(
        (each for each in found if isinstance(each, type) and issubclass(each, BaseException)),
        Exception,
    )
    raised_as = nearest(error_class)
    answer = answer._replace(error_type=name, raised_as="" if raised_as == name else raised_as)
    if job.is_final:
        return answer
    wait = policy.wait_after(error_class, call.failures + 1, job.retry_after)
    return answer._replace(retry_in=wait)
