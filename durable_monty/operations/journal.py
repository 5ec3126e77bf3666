"""Reading the journal of executions, in a fixed number of queries for a batch."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection
from typing import cast

from durable_monty.models import Call, CallKind, CallStatus
from durable_monty.sandbox import CallRequest, Kind, Position, RecordedTurn, Settled


def answers_of(execution_ids: Collection[uuid.UUID], using: str) -> dict[uuid.UUID, list[Call]]:
    """The answers that no turn was given yet, in `call_id` order."""
    answers: dict[uuid.UUID, list[Call]] = defaultdict(list)
    calls = Call.objects.using(using).filter(execution_id__in=execution_ids).undelivered()
    wanted = ("execution_id", "call_id", "status", "result", "error_type", "error_message")
    for call in calls.only(*wanted).order_by("execution_id", "call_id"):
        answers[call.execution_id].append(call)
    return answers


def turns_of(execution_id: uuid.UUID, upto: int, using: str, after: int = 0) -> list[RecordedTurn]:
    """The recorded turns `after + 1` .. `upto`."""
    calls: dict[int, dict[int, CallRequest]] = defaultdict(dict)
    answers: dict[int, dict[int, Settled]] = defaultdict(dict)
    loads: set[int] = set()
    rows = Call.objects.using(using).filter(execution_id=execution_id, turn__lte=upto)
    for call in rows.order_by("call_id").iterator():
        if after < call.turn <= upto:
            calls[call.turn][call.call_id] = _request(call)
        if call.delivered_turn is None or call.kind == CallKind.CLOCK:
            continue
        if after < call.delivered_turn <= upto:
            answers[call.delivered_turn][call.call_id] = settled(call)
            if call.after_load:
                loads.add(call.delivered_turn)
    return [
        RecordedTurn(turn, answers[turn], calls[turn], after_load=turn in loads)
        for turn in range(after + 1, upto + 1)
    ]


def settled(call: Call) -> Settled:
    if call.status == CallStatus.COMPLETED:
        return Settled(result=call.result)
    return Settled(error_type=call.error_type, error_message=call.error_message)


def _request(call: Call) -> CallRequest:
    return CallRequest(
        call_id=call.call_id,
        kind=cast("Kind", call.kind),
        function=call.function,
        args=call.args,
        kwargs=call.kwargs,
        position=Position(call.position_start, call.position_end),
        result=call.result if call.kind == CallKind.CLOCK else None,
    )
