"""Starts executions with the journal of another one, up to a turn."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.db import IntegrityError

from durable_monty import codec
from durable_monty.exceptions import (
    InvalidWorkflow,
    ReplayMismatch,
    TurnNotForkable,
)
from durable_monty.kinds import kind_of
from durable_monty.models import Call, Execution, ExecutionStatus
from durable_monty.models.call import CallQuerySet
from durable_monty.models.clock import database_now
from durable_monty.models.execution import uuid7
from durable_monty.operations.copies import NO_EDITS, Edits, copy_call, is_delivered, same_answers
from durable_monty.operations.find import find_execution
from durable_monty.operations.journal import StoredTurns
from durable_monty.operations.keys import (
    OnConflict,
    check_on_conflict,
    differing_program,
    find_by_key,
    known_or_conflict,
)
from durable_monty.operations.limits import limits_of_settings
from durable_monty.operations.locks import locked
from durable_monty.operations.reports import report_waiting
from durable_monty.operations.sources import Code, edited_code
from durable_monty.operations.start import check_inputs, check_label, check_permitted, check_source
from durable_monty.operations.transactions import write
from durable_monty.program_check import refuse_wrong
from durable_monty.sandbox import Rehearsal, Workflow, mistake_in, rehearse
from durable_monty.wakeups import announce

# Calls that are copied at a time: a journal can be larger than the memory.
_AT_ONCE = 20


def fork_execution(
    execution_id: uuid.UUID,
    turn: int,
    edits: Edits = NO_EDITS,
    *,
    key: str | None = None,
    on_conflict: OnConflict = "raise",
    is_retry: bool = False,
    using: str,
) -> Execution:
    """Schedules an execution that goes on from `turn` of another, which is left as it is.

    It has the same journal: the calls, and the answers with their turns. Calls that were open
    after the turn keep the answer that they have got since, unless `edits` has another one;
    without an answer they are made again. Turn 0 starts from the beginning. `is_retry`: the fork
    is the one retry of the other execution; if there is one already, that is returned.

    Raises `ExecutionNotFound`, `TurnNotForkable`, `HostFault`, `ReplayMismatch` if the source does
    not do what was recorded, and as `start_execution` does.
    """
    executions = Execution.objects.using(using).select_related("program")
    origin = find_execution(execution_id, executions)
    if key is not None:
        check_label("key", key, empty=False)
        check_on_conflict(on_conflict)
    plan = _plan(origin, turn, edits)
    if key is not None and (known := find_by_key(key, using)) is not None:
        return known_or_conflict(known, key, _differing(known, plan, using), on_conflict)
    calls = Call.objects.using(using).filter(execution=origin, turn__lte=turn)
    _check(plan, calls)
    # Before the transaction: a replay takes long, and would keep the rows locked.
    rehearsal = _rehearse(plan, using) if turn else None
    try:
        with write(using):
            if not is_retry:
                return _write(plan, calls, rehearsal, key, using)
            # Under the lock of the origin, so that a second retry finds the first one. That needs
            # neither a key nor a unique index, which every start would have to write.
            latest = locked(Execution.objects.using(using).all()).get(pk=origin.pk)
            if latest.retried_by is not None:
                return latest.retried_by
            fork = _write(plan, calls, rehearsal, key, using)
            changes = {"retried_by": fork, "handled_at": fork.created_at}
            Execution.objects.using(using).filter(pk=origin.pk).update(**changes)
            return fork
    except IntegrityError:
        known = find_by_key(key, using) if key is not None else None
        if key is None or known is None:
            raise
        return known_or_conflict(known, key, _differing(known, plan, using), on_conflict)


@dataclass(frozen=True, slots=True)
class _Plan:
    origin: Execution
    turn: int
    code: Code
    edits: Edits

    @property
    def name(self) -> str:
        return self.origin.name if self.edits.name is None else self.edits.name

    @property
    def is_edited(self) -> bool:
        return self.code.source != self.origin.program.source


def _differing(known: Execution, plan: _Plan, using: str) -> list[str]:
    """Returns the words for what sets a fork apart from the fork `known`."""
    if (known.forked_from_id, known.forked_turn) != (plan.origin.pk, plan.turn):
        return ["execution or turn"]
    differing = differing_program(known, plan.code)
    if known.name != plan.name:
        differing.append("name")
    if not same_answers(known, plan.edits.answers, using):
        differing.append("answers")
    return differing


def _check(plan: _Plan, calls: CallQuerySet) -> None:
    """Raises `TurnNotForkable` if the turn does not exist, or cannot be edited like this."""
    origin, turn, why = plan.origin, plan.turn, ""
    if not 0 <= turn <= origin.turn:
        why = f"it has run {origin.turn} turns"
    elif origin.claim is not None and turn == origin.turn:
        # Its calls of this turn may run inline, without rows.
        why = "a worker is busy with it, try again in a moment"
    elif origin.status == ExecutionStatus.COMPLETED and turn == origin.turn:
        why = "it ended in that turn"
    elif plan.edits.answers:
        journal = calls.only("call_id", "kind", "executor", "delivered_turn")
        found = {call.call_id: call for call in journal if not is_delivered(call, turn)}
        for call_id, answer in plan.edits.answers.items():
            call = found.get(call_id)
            if call is None or (answer is not None and not kind_of(call).takes_answers):
                why = f"it has no open call {call_id} there to be answered otherwise"
                break
    if why:
        raise TurnNotForkable(origin.pk, turn, why)


def _plan(origin: Execution, turn: int, edits: Edits) -> _Plan:
    program, inputs = origin.program, codec.decode(origin.inputs)
    check_source(program.source if edits.code is None else edits.code)
    code = edited_code(program, edits.code, edits.functions)
    if edits.name is not None:
        check_label("name", edits.name, empty=True)
    if edits.functions is not None and not code.entry:
        check_inputs(inputs, code.functions)
    is_same = code.source == program.source
    if edits.user is not None:
        kept = program.functions.values() if is_same else ()
        check_permitted(edits.user, code.functions.values(), kept)
    if not is_same or code.functions != program.functions:
        refuse_wrong(code.source, code.functions, code.variables(inputs))
    return _Plan(origin, turn, code, edits)


def _rehearse(plan: _Plan, using: str) -> Rehearsal:
    origin, code = plan.origin, plan.code
    workflow = Workflow(code.source, code.functions, origin.inputs, origin.seed, code.entry)
    if plan.is_edited and (mistake := mistake_in(workflow)) is not None:
        raise InvalidWorkflow(str(mistake))
    recorded = StoredTurns(origin.pk, range(1, plan.turn + 1), using)
    try:
        return rehearse(workflow, recorded, limits_of_settings())
    except ReplayMismatch as exc:
        if exc.call_id is not None or plan.turn != origin.turn or plan.is_edited:
            raise
        raise TurnNotForkable(origin.pk, plan.turn, "it ended in that turn") from exc


def _write(
    plan: _Plan,
    calls: CallQuerySet,
    rehearsal: Rehearsal | None,
    key: str | None,
    using: str,
) -> Execution:
    now, origin, execution_id = database_now(using), plan.origin, uuid7()
    fork = Execution(
        id=execution_id,
        name=plan.name,
        label=origin.label,
        key=key,
        inputs=origin.inputs,
        seed=str(execution_id),
        created_at=now,
        due_at=now,
        forked_from=origin,
        forked_turn=plan.turn,
    )
    plan.code.give_to(fork, using)
    if fork.program_id == origin.program_id and fork.name == origin.name:
        fork.version_id = origin.version_id
    pks: list[int] = []
    if rehearsal is not None:
        fork.status, fork.turn, fork.seed = ExecutionStatus.WAITING, plan.turn, origin.seed
        fork.log, fork.started_at, fork.clock_at = rehearsal.log, now, origin.clock_at
        fork.position_start = rehearsal.position.start
        fork.position_end = rehearsal.position.end
        pks = list(calls.order_by("call_id").values_list("pk", flat=True))
        fork.call_count = len(pks)
    fork.save(using=using, force_insert=True)
    for at in range(0, len(pks), _AT_ONCE):
        assert rehearsal is not None  # noqa: S101  (else there are none)
        copies = [
            copy_call(call, fork, rehearsal.calls[call.call_id], plan.edits, now)
            for call in calls.filter(pk__in=pks[at : at + _AT_ONCE]).order_by("call_id")
        ]
        Call.objects.using(using).bulk_create(copies)
        report_waiting(fork, copies, using)
    announce(using)
    return fork
