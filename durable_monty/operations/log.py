"""Log records whose text names the execution or call, with the same facts in `extra`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from durable_monty.exceptions import DurableMontyError
    from durable_monty.models import Call, Execution
    from durable_monty.operations.answer import ClaimedCall
    from durable_monty.operations.new_calls import NewCall
    from durable_monty.operations.outcomes import Outcome

# The text of each record begins with a constant: so tools group records about one problem.
logger = logging.getLogger("durable_monty")


def log_execution(
    level: int, what: str, execution: Execution, why: object, exc: BaseException | None = None
) -> None:
    """Logs `what` happened to an execution, and why, with the traceback of `exc`."""
    text = what + ": execution %s (%s), turn %d: %s"
    logger.log(
        level,
        text,
        execution.id,
        execution.name or "unnamed",
        execution.turn + 1,
        why,
        exc_info=exc,
        extra={
            "execution_id": str(execution.id),
            "workflow": execution.name,
            "reason": str(why),
        },
    )


def log_retry(outcomes: Sequence[Outcome], exc: Exception) -> None:
    """Logs that a commit failed and is tried again."""
    why = f"{exc} ({len(outcomes)} executions)" if len(outcomes) > 1 else exc
    log_execution(logging.WARNING, "commit is tried again", outcomes[0].execution, why)


def log_call(
    level: int, what: str, call: Call | NewCall, why: object, exc: BaseException | None = None
) -> None:
    """Logs `what` happened to a call, and why, with the traceback of `exc`."""
    text = what + ": call %d of execution %s, function %s: %s"
    logger.log(
        level,
        text,
        call.call_id,
        call.execution_id,
        call.function,
        why,
        exc_info=exc,
        extra={**facts_of(call), "reason": str(why)},
    )


def log_calls(
    level: int,
    what: str,
    claims: Iterable[ClaimedCall],
    why: object,
    exc: BaseException | None = None,
) -> None:
    """Logs `what` happened to claimed calls. The row names a call of which no more is known."""
    names = [
        f"call in row {claimed.pk}"
        if (call := claimed.call) is None
        else f"call {call.call_id} of execution {call.execution_id}, function {call.function}"
        for claimed in claims
    ]
    text = what + ": %s: %s"
    logger.log(
        level,
        text,
        ", ".join(names),
        why,
        exc_info=exc,
        extra={"calls": names, "reason": str(why)},
    )


def log_refusal(refusal: DurableMontyError) -> None:
    """Logs that an answer was not recorded. The text of the refusal names execution and call."""
    function = getattr(refusal, "function", "") or "unknown"
    logger.warning(
        "answer refused: %s (function %s)",
        refusal,
        function,
        extra={
            "execution_id": str(getattr(refusal, "execution_id", "")),
            "call_id": getattr(refusal, "call_id", None),
            "function": function,
            "reason": str(refusal),
        },
    )


def facts_of(call: Call | NewCall) -> dict[str, str | int]:
    """Returns the `extra` of log records about a call."""
    return {
        "execution_id": str(call.execution_id),
        "call_id": call.call_id,
        "function": call.function,
    }
