"""Copies of a journal's calls, for an execution that begins with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from durable_monty.functions import policy_of
from durable_monty.kinds import kind_of
from durable_monty.models import Call, Execution
from durable_monty.models.call import ANSWERED
from durable_monty.operations.answer import Answer, asks_to_end, by_hand, closed
from durable_monty.operations.schedule import due_time, schedule
from durable_monty.sandbox import Position

_ANSWER = ("status", "result", "error_type", "error_message", "raised_as", "error_traceback")
_HISTORY = ("started_at", "finished_at", "completed_by_id", "completed_by_name", "reason")


@dataclass(frozen=True, slots=True)
class Edits:
    """The differences between a fork and its origin.

    `answers`: by call id, of calls that were open after the turn; None makes the call again.
    `user` and `reason` are noted on the answers. A user who edits the source may let it call only
    what `check_permitted` allows. `keep_keys`: calls that are made again keep their idempotency
    keys.
    """

    code: str | None = None
    functions: Iterable[str | Callable[..., Any]] | None = None
    answers: Mapping[int, Answer | None] = field(default_factory=dict)
    name: str | None = None
    user: Any = None
    reason: str = ""
    keep_keys: bool = False


NO_EDITS = Edits()


def copy_call(
    call: Call, fork: Execution, position: Position, edits: Edits, now: datetime
) -> Call:
    copy = Call(
        execution=fork,
        call_id=call.call_id,
        kind=call.kind,
        function=call.function,
        args=call.args,
        kwargs=call.kwargs,
        position_start=position.start,
        position_end=position.end,
        turn=call.turn,
        executor=call.executor,
        created_at=call.created_at,
    )
    if is_delivered(call, fork.turn):
        copy.delivered_turn, copy.after_load = call.delivered_turn, call.after_load
        _take(copy, call, *_ANSWER, *_HISTORY)
    elif (answer := edits.answers.get(call.call_id)) is not None:
        columns = closed(answer.fit(call.function), now) | by_hand(edits.user, edits.reason)
        for name, value in columns.items():
            setattr(copy, name, value)
    elif call.call_id not in edits.answers and has_answer(call):
        _take(copy, call, *_ANSWER, *_HISTORY)
    else:
        if kind_of(copy).is_made_again:
            copy.executor, copy.created_at = policy_of(copy).executor, now
            for name, at in schedule(copy, now).items():
                setattr(copy, name, at)
        copy.due_at = due_time(copy, now)  # a sleep counts from `created_at`
        if edits.keep_keys:
            copy.key_execution = call.key_execution or call.execution_id
    return copy


def is_delivered(call: Call, turn: int) -> bool:
    return call.delivered_turn is not None and call.delivered_turn <= turn


def has_answer(call: Call) -> bool:
    """Returns whether a fork can keep the answer: it did not ask the execution to end."""
    return call.status in ANSWERED and not asks_to_end(call)


def _take(copy: Call, of: Call, *names: str) -> None:
    for name in names:
        setattr(copy, name, getattr(of, name))


def same_answers(fork: Execution, answers: Mapping[int, Answer | None], using: str) -> bool:
    """Returns whether the fork was made with these answers."""
    calls = Call.objects.using(using).filter(execution=fork, turn__lte=fork.forked_turn)
    # Only the answers that were given to the fork have its time.
    given = {
        call.call_id: (call.status, call.result, call.error_type, call.error_message)
        for call in calls.filter(finished_at=fork.created_at)
    }
    functions = dict(calls.values_list("call_id", "function"))
    fitting = {
        call_id: answer.fit(functions.get(call_id, ""))
        for call_id, answer in answers.items()
        if answer is not None
    }
    wanted = {
        call_id: (answer.status, answer.result, answer.error_type, answer.error_message)
        for call_id, answer in fitting.items()
    }
    again = [call_id for call_id, answer in answers.items() if answer is None]
    kept = calls.filter(finished_at__lt=fork.created_at, call_id__in=again)
    return given == wanted and not kept.exists()
