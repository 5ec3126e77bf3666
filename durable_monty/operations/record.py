"""Recording answers, whatever the database thinks of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from durable_monty.exceptions import DurableMontyError
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.log import log_calls
from durable_monty.operations.settle import settle_attempts
from durable_monty.operations.transactions import may_pass


def record_answers(
    answers: Sequence[tuple[ClaimedCall, Answer]], *, using: str
) -> list[DurableMontyError]:
    """Settles attempts and returns the refusals, see `settle_attempts`.

    If the database refuses the batch, each answer is recorded by itself, and the call whose answer
    it refuses fails with the reason. Raises while the database is out of reach, full or read-only:
    then nothing is decided.
    """
    try:
        return settle_attempts(answers, using=using)
    except Exception as exc:
        if may_pass(exc):
            raise
        if len(answers) > 1:
            return [
                refusal for answer in answers for refusal in record_answers([answer], using=using)
            ]
        log_calls(logging.ERROR, "answer cannot be recorded", [answers[0][0]], exc, exc)
        message = f"The database refused the answer: {type(exc).__name__}: {exc}"
        error = Answer.of_error("RuntimeError", message)
    try:
        return settle_attempts([(answers[0][0], error)], using=using)
    except Exception as exc:
        if may_pass(exc):
            raise
        log_calls(logging.ERROR, "call left to its lease", [answers[0][0]], exc, exc)
        return []
