"""The calls of executions, as `OrchestratorService` offers them."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import router

from durable_monty import codec, conf, operations
from durable_monty.exceptions import ExecutionNotFound, InvalidWorkflow
from durable_monty.models import Execution
from durable_monty.operations.answer import Answer
from durable_monty.reads import executions as reads
from durable_monty.twins import twin

ExecutionId = str | uuid.UUID


class CallService:
    """Reads and answers the calls of executions on the database `using`."""

    def __init__(self, using: str | None = None) -> None:
        self.using = using or router.db_for_write(Execution)

    def get_pending_calls(self, execution_id: ExecutionId) -> list[dict[str, Any]]:
        """Returns the function calls without an answer, in the order in which they were made:
        `[{"call_id", "function_name", "args", "kwargs"}]`."""
        execution = self._find(execution_id)
        calls = reads.find_open_calls(execution.pk, self.using)
        return [reads.pending_call(call) for call in calls]

    def complete_call(
        self,
        execution_id: ExecutionId,
        call_id: int,
        result: Any,
        *,
        user: Any = None,
        reason: str = "",
    ) -> None:
        """Answers a call with `result`, which its `await` returns.

        `user` (of Django) and `reason` are kept with the call. If the function is annotated to
        return a dataclass, a dict becomes a record of it. Raises `UnstorableValue` for a result
        that cannot be stored, `WrongResult` for one that does not fit the annotation,
        `CallNotFound`, and `CallSettled` if the call was answered or withdrawn before; then
        nothing is changed.
        """
        self._settle(execution_id, call_id, answer_with(result), user, reason)

    def fail_call(
        self,
        execution_id: ExecutionId,
        call_id: int,
        error: BaseException | str,
        *,
        user: Any = None,
        reason: str = "",
    ) -> None:
        """Answers a call with an exception, which its `await` raises.

        A str becomes the message of a RuntimeError. An exception that the sandbox does not know
        arrives as its nearest builtin base. Raises as `complete_call` does.
        """
        if isinstance(error, str):
            answer = Answer.of_error("RuntimeError", error)
        else:
            answer = Answer.of_exception(error)
        self._settle(execution_id, call_id, answer, user, reason)

    def retry_call(self, execution_id: ExecutionId, call_id: int) -> None:
        """Runs a call that waits for a retry now. Raises `CallNotFound`, `CallNotWaiting`."""
        operations.retry_call(parse_id(execution_id), call_id, using=self.using)

    aget_pending_calls = twin(get_pending_calls)
    acomplete_call = twin(complete_call)
    afail_call = twin(fail_call)
    aretry_call = twin(retry_call)

    def _find(self, execution_id: ExecutionId) -> Execution:
        return reads.get_execution(parse_id(execution_id), self.using)

    _afind = twin(_find)

    def _settle(
        self, execution_id: ExecutionId, call_id: int, answer: Answer, user: Any, reason: str
    ) -> None:
        if not isinstance(call_id, int) or isinstance(call_id, bool):
            raise InvalidWorkflow(f"call_id must be an int, not {call_id!r}.")
        operations.settle_by_hand(
            parse_id(execution_id), call_id, answer, using=self.using, user=user, reason=reason
        )


def answer_with(value: Any) -> Answer:
    """Returns `value` as an answer. Raises `UnstorableValue`."""
    limit = conf.current().MAX_VALUE_BYTES
    return Answer(codec.encode(value, path="result", max_bytes=limit))


def parse_id(execution_id: ExecutionId) -> uuid.UUID:
    """Returns the id as a UUID. Raises `ExecutionNotFound` for a text that is none."""
    if isinstance(execution_id, uuid.UUID):
        return execution_id
    try:
        return uuid.UUID(execution_id)
    except (ValueError, AttributeError, TypeError) as exc:
        raise ExecutionNotFound(execution_id) from exc
