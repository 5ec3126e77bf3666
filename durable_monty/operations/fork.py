"""New executions that begin with the journal of another one, up to a turn."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError

from durable_monty import codec
from durable_monty.exceptions import (
    ExecutionNotFound,
    InvalidInputs,
    KeyConflict,
    ReplayMismatch,
    TurnNotForkable,
)
from durable_monty.functions import resolve_functions
from durable_monty.models import Call, CallKind, CallStatus, Execution, ExecutionStatus, Program
from durable_monty.models.call import ANSWERED
from durable_monty.models.clock import database_now
from durable_monty.models.execution import uuid7
from durable_monty.operations.answer import Answer
from durable_monty.operations.attempts import executor_of, schedule
from durable_monty.operations.journal import turns_of
from durable_monty.operations.limits import usual_limits
from durable_monty.operations.permits import check_permitted
from durable_monty.operations.start import check_label, check_source
from durable_monty.operations.transactions import write
from durable_monty.operations.withdraw import DEADLINE_PASSED
from durable_monty.sandbox import CANCELLED, Position, Rehearsal, Workflow, rehearse
from durable_monty.wakeups import announce

_ERROR = ("error_type", "error_message", "raised_as", "error_traceback")
_ANSWER = ("status", "result", *_ERROR)
_HISTORY = ("started_at", "finished_at", "completed_by_id", "reason")


@dataclass(frozen=True, slots=True)
class Edits:
    """What a fork has otherwise. `answers`: call id -> answer, None to ask again; of calls that
    were open after the turn. `user` and `reason` are noted on the answers; a user who edits the
    source may let it call only what `check_permitted` allows."""

    code: str | None = None
    functions: Iterable[str | Callable[..., Any]] | None = None
    answers: Mapping[int, Answer | None] = field(default_factory=dict)
    name: str | None = None
    user: Any = None
    reason: str = ""


def fork_execution(
    execution_id: uuid.UUID,
    turn: int,
    edits: Edits = Edits(),
    *,
    key: str | None = None,
    using: str,
) -> Execution:
    """Schedules an execution that goes on from `turn` of another, which is left as it is.

    It has that journal: the same calls, and the answers with their turns. Calls that were open
    after the turn keep the answer that they have got since, unless `edits` has another; without
    one they are asked again. The journal is replayed first, in this process: `ReplayMismatch` if
    the source does not do what was recorded. Turn 0: it starts again, from nothing.

    Raises `ExecutionNotFound`, `TurnNotForkable`, `HostFault`, and as `start_execution` does.
    """
    origin = _find(execution_id, using)
    if key is not None:
        check_label("key", key, empty=False)
        if (known := _known(key, origin, turn, using)) is not None:
            return known
    _check_turn(origin, turn)
    plan = _Plan(origin, turn, *_program(origin, edits), edits)
    calls = Call.objects.using(using).filter(execution=origin, turn__lte=turn)
    journal = list(calls.order_by("call_id"))
    _check_answers(plan, journal)
    rehearsal = _rehearse(plan, using) if turn else None
    try:
        with write(using):
            return _write(plan, journal, rehearsal, key, using)
    except IntegrityError:
        known = None if key is None else _known(key, origin, turn, using)
        if known is None:
            raise
        return known


@dataclass(frozen=True, slots=True)
class _Plan:
    origin: Execution
    turn: int
    source: str
    functions: Mapping[str, str]
    edits: Edits


def _find(execution_id: uuid.UUID, using: str) -> Execution:
    executions = Execution.objects.using(using).select_related("program")
    execution = executions.filter(pk=execution_id).first()
    if execution is None:
        raise ExecutionNotFound(execution_id)
    return execution


def _known(key: str, origin: Execution, turn: int, using: str) -> Execution | None:
    known = Execution.objects.using(using).filter(key=key).first()
    if known is not None and (known.forked_from_id, known.forked_turn) != (origin.pk, turn):
        raise KeyConflict(key, known.pk, ["execution or turn"])
    return known


def _check_turn(origin: Execution, turn: int) -> None:
    if not 0 <= turn <= origin.turn:
        raise TurnNotForkable(origin.pk, turn, f"it has run {origin.turn} turns")
    if origin.claim is not None and turn == origin.turn:
        # Its calls of this turn may be young, and have no rows yet.
        raise TurnNotForkable(origin.pk, turn, "a worker is busy with it, try again in a moment")
    if origin.status == ExecutionStatus.COMPLETED and turn == origin.turn:
        raise TurnNotForkable(origin.pk, turn, "it ended in that turn")


def _program(origin: Execution, edits: Edits) -> tuple[str, Mapping[str, str]]:
    """The source and the function map."""
    source = origin.program.source if edits.code is None else edits.code
    check_source(source)
    if edits.name is not None:
        check_label("name", edits.name, empty=True)
    functions = origin.program.functions
    if edits.functions is not None:
        functions = resolve_functions(edits.functions)
        for name in codec.decode(origin.inputs):
            if name in functions:
                raise InvalidInputs(f"{name!r} is both an input and a function of the workflow.")
    if edits.user is not None:
        is_same = source == origin.program.source
        kept = origin.program.functions.values() if is_same else ()
        check_permitted(edits.user, functions.values(), kept)
    return source, functions


def _check_answers(plan: _Plan, journal: Iterable[Call]) -> None:
    open_calls = {call.call_id: call for call in journal if not _is_delivered(call, plan.turn)}
    for call_id, answer in plan.edits.answers.items():
        call = open_calls.get(call_id)
        if call is None or (answer is not None and call.kind != CallKind.FUNCTION):
            why = f"it has no open call {call_id} there to be answered otherwise"
            raise TurnNotForkable(plan.origin.pk, plan.turn, why)


def _rehearse(plan: _Plan, using: str) -> Rehearsal:
    origin = plan.origin
    workflow = Workflow(plan.source, plan.functions, origin.inputs, origin.seed)
    recorded = turns_of(origin.pk, plan.turn, using)
    try:
        return rehearse(workflow, recorded, usual_limits())
    except ReplayMismatch as exc:
        is_edited = plan.source != origin.program.source
        if exc.call_id is not None or plan.turn != origin.turn or is_edited:
            raise
        raise TurnNotForkable(origin.pk, plan.turn, "it ended in that turn") from exc


def _write(
    plan: _Plan,
    journal: Iterable[Call],
    rehearsal: Rehearsal | None,
    key: str | None,
    using: str,
) -> Execution:
    now, origin, execution_id = database_now(using), plan.origin, uuid7()
    fork = Execution(
        id=execution_id,
        program=Program.objects.using(using).ensure(plan.source, plan.functions),
        name=origin.name if plan.edits.name is None else plan.edits.name,
        key=key,
        inputs=origin.inputs,
        seed=str(execution_id),
        created_at=now,
        due_at=now,
        forked_from=origin,
        forked_turn=plan.turn,
    )
    copies: list[Call] = []
    if rehearsal is not None:
        fork.status, fork.turn, fork.seed = ExecutionStatus.WAITING, plan.turn, origin.seed
        fork.log, fork.started_at, fork.clock_at = rehearsal.log, now, origin.clock_at
        fork.position_start = rehearsal.position.start
        fork.position_end = rehearsal.position.end
        copies = [
            _copy(call, fork, rehearsal.calls[call.call_id], plan.edits, now) for call in journal
        ]
        fork.call_count = len(copies)
    fork.save(using=using, force_insert=True)
    Call.objects.using(using).bulk_create(copies, batch_size=1_000)
    announce(using)
    return fork


def _copy(call: Call, fork: Execution, position: Position, edits: Edits, now: datetime) -> Call:
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
    if _is_delivered(call, fork.turn):
        copy.delivered_turn, copy.after_load = call.delivered_turn, call.after_load
        _take(copy, call, *_ANSWER, *_HISTORY)
    elif (answer := edits.answers.get(call.call_id)) is not None:
        copy.status, copy.result, copy.finished_at = answer.status, answer.result, now
        _take(copy, answer, *_ERROR)
        copy.completed_by, copy.reason = edits.user, codec.clean_text(edits.reason, 10_000)
    elif call.call_id not in edits.answers and has_answer(call):
        _take(copy, call, *_ANSWER, *_HISTORY)
    else:
        _ask(copy, now)
    return copy


def _is_delivered(call: Call, turn: int) -> bool:
    return call.delivered_turn is not None and call.delivered_turn <= turn


def has_answer(call: Call) -> bool:
    """One that a fork can keep: not one that asked its execution to end."""
    ends = call.error_type == CANCELLED or call.error_message == DEADLINE_PASSED
    return call.status in ANSWERED and not ends


def _take(copy: Call, of: Call | Answer, *names: str) -> None:
    for name in names:
        setattr(copy, name, getattr(of, name))


def _ask(copy: Call, now: datetime) -> None:
    if copy.kind == CallKind.TIMER:
        # It ends when it would have ended.
        (delay,) = codec.decode(copy.args)
        copy.due_at = copy.created_at + timedelta(seconds=delay)
        return
    copy.executor = executor_of(copy.function)
    copy.status, copy.created_at = CallStatus.PENDING, now
    for name, at in schedule(copy.function, copy.executor, now).items():
        setattr(copy, name, at)
