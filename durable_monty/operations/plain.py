"""The usual start, claim and commit, each as one statement on PostgreSQL.

Each statement is a way to the server and back, and the worker's other threads run meanwhile: what
`commit` does in seven of them took three times as long. What these do not do, of executions that
something is wanted of, or that were lost before, is left to `claim_executions` and `commit`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, TypeGuard

from django.db import connections

from durable_monty import conf
from durable_monty.models import Call, Execution, ExecutionStatus, Program, clock
from durable_monty.models.execution import uuid7
from durable_monty.models.program import identity_of
from durable_monty.operations import bulk
from durable_monty.operations.changes import Changes
from durable_monty.operations.new_calls import SAME_OF_ANSWERED, NewCall
from durable_monty.operations.outcomes import Advanced, Outcome
from durable_monty.operations.prepared import Statement, rows_of
from durable_monty.sandbox import Completed

_BY_THE_SERVER = ("program_id", "created_at", "due_at")


def start_plain(
    code: str, functions: Mapping[str, str], inputs: str, name: str, *, using: str
) -> Execution | None:
    """Inserts an execution that is due now; None, if its program is not stored yet."""
    sha256, _text = identity_of(code, functions)
    execution = Execution(id=uuid7(), name=name, inputs=inputs)
    execution.seed = str(execution.pk)
    fields = [
        field for field in Execution._meta.concrete_fields if field.attname not in _BY_THE_SERVER
    ]
    values = [getattr(execution, field.attname) for field in fields]
    values += [clock.offset.total_seconds(), sha256]
    rows = rows_of(*_start(using, clock.sql_now()), values, using=using)
    if not rows:
        return None
    execution.program_id, execution.created_at = rows[0]
    execution.due_at = execution.created_at
    execution._state.adding, execution._state.db = False, using
    return execution


def claim_plain(limit: int, *, using: str, worker_id: int | None) -> list[Execution]:
    """Claims due executions that no worker has lost, longest due first. Their programs are not
    read."""
    lease, offset = conf.current().LEASE, clock.offset.total_seconds()
    values = [offset, limit, uuid.uuid4(), lease, worker_id]
    rows = rows_of(*_claim(using, clock.sql_now()), values, using=using)
    return bulk.loaded(Execution, rows, using)


def is_plain(outcome: Outcome) -> TypeGuard[Advanced]:
    """Whether it only adds answered calls to the journal, and goes on or is completed."""
    return (
        isinstance(outcome, Advanced)
        and (outcome.holds or (isinstance(outcome.ending, Completed) and outcome.is_clean))
        and not outcome.delivered
        and outcome.loaded_turn is None
        and all(call.answer is not None for call in outcome.written)
    )


def commit_plain(outcomes: Sequence[Advanced], *, using: str) -> Changes:
    """The changes of those that were written; the others' rows ask for something, or are not
    ours any more."""
    if not outcomes:
        return {}
    keys = [outcome.execution.id.hex for outcome in outcomes]
    rows, calls = [], []
    for number, outcome in enumerate(outcomes):
        written = outcome.written
        rows.append(_row(number, keys[number], outcome, len(written)))
        calls += [_call_row(number, call) for call in written]
    lease = conf.current().LEASE
    values = [
        clock.offset.total_seconds(),
        outcomes[0].execution.worker_id,  # all are held by this worker
        bulk.as_json(rows),
        f"{{{','.join(keys)}}}",
        bulk.as_json(calls),
        lease / 2,
        lease,
    ]
    [(now, numbers)] = rows_of(*_commit(using, clock.sql_now()), values, using=using)
    return {
        outcomes[number].execution.id: _changes(
            outcomes[number], rows[number], now, timedelta(seconds=lease)
        )
        for number in numbers or ()
    }


# As the columns of `given` and `calls`: what is missing is null.
_GIVEN = {
    "number": "integer",
    "id": "uuid",
    "claim": "uuid",
    "wakeups": "integer",
    "turn_before": "integer",
    "turn": "integer",
    "call_count": "integer",
    "is_last": "boolean",
    "output": "text",
    "clock_at": "timestamptz",
    "log": "text",
}
_CALLS = {
    "number": "integer",
    "call_id": "integer",
    "turn": "integer",
    "kind": "text",
    "function": "text",
    "executor": "text",
    "args": "text",
    "kwargs": "text",
    "position_start": "integer",
    "position_end": "integer",
    "result": "text",
    "delivered_turn": "integer",
    "started_at": "timestamptz",
    "finished_at": "timestamptz",
    "progress": "double precision",
    "progress_message": "text",
}


def _row(number: int, key: str, outcome: Advanced, calls: int) -> dict[str, Any]:
    execution, ending = outcome.execution, outcome.ending
    row: dict[str, Any] = {
        "number": number,
        "id": key,
        "claim": execution.claim,
        "wakeups": execution.wakeups,
        "turn_before": execution.turn,
        "turn": outcome.turn,
        "call_count": execution.call_count + calls,
    }
    if isinstance(ending, Completed):
        row |= {"is_last": True, "output": ending.output}
    if outcome.clock_at is not None:
        row["clock_at"] = outcome.clock_at
    if log := outcome.log:
        row["log"] = log
    return row


def _call_row(number: int, call: NewCall) -> dict[str, Any]:
    request, answer = call.request, call.answer
    row: dict[str, Any] = {
        "number": number,
        "call_id": request.call_id,
        "turn": call.turn,
        "kind": request.kind,
        "function": request.function,
        "executor": call.executor,
        "args": request.args,
        "kwargs": request.kwargs,
        "position_start": request.position.start,
        "position_end": request.position.end,
        "result": None if answer is None else answer.result,
        "delivered_turn": call.delivered_turn,
    }
    if call.started_at is not None:
        row["started_at"] = call.started_at
    if call.finished_at is not None:
        row["finished_at"] = call.finished_at
    if call.progress is not None or call.progress_message:
        row |= {"progress": call.progress, "progress_message": call.progress_message}
    return row


def _changes(
    outcome: Advanced, row: Mapping[str, Any], now: datetime, lease: timedelta
) -> dict[str, Any]:
    """What its worker must know to go on with it, or that it is done."""
    if "is_last" in row:
        return {"turn": row["turn"], "claim": None, "status": ExecutionStatus.COMPLETED}
    execution = outcome.execution
    due_at = execution.due_at
    assert due_at is not None  # noqa: S101  (the end of its lease)
    changes = {
        "turn": row["turn"],
        "call_count": row["call_count"],
        "clock_at": outcome.clock_at,
        "status": ExecutionStatus.WAITING,
        "faults": 0,
        "started_at": execution.started_at or now,
        "due_at": now + lease if due_at < now + lease / 2 else due_at,
    }
    return changes | {"log": execution.log + row["log"]} if "log" in row else changes


@lru_cache(maxsize=8)
def _start(using: str, now: str) -> Statement:
    connection = connections[using]
    execution, program = (bulk.table_of(model, connection) for model in (Execution, Program))
    names = [field.attname for field in Execution._meta.concrete_fields]
    given = [name for name in names if name not in _BY_THE_SERVER]
    columns = ", ".join(bulk.names_of(Execution, (*given, *_BY_THE_SERVER), connection))
    types = bulk.types_of(Execution, given, connection)
    sql = f"""
INSERT INTO {execution} ({columns})
SELECT {bulk.marks_of(given)}, p.id, t.now, t.now
FROM {program} p, (SELECT {now} + make_interval(secs => %s) AS now) t
WHERE p.sha256 = %s
RETURNING program_id, created_at
"""  # noqa: S608
    return sql, (*types, "double precision", "text")


@lru_cache(maxsize=8)
def _claim(using: str, now: str) -> Statement:
    # Not waiting for the disk: a claim that is lost with the server's power was only a lease.
    # CASE and ARRAY, for a plan by the index of what is due and the key whatever the planner
    # knows: it takes a null for rare, and a table that nobody has analysed for small.
    connection = connections[using]
    table = bulk.table_of(Execution, connection)
    columns = bulk.all_names_of(Execution, "e", connection)
    sql = f"""
WITH t AS MATERIALIZED (
    SELECT {now} + make_interval(secs => %s) AS now,
    set_config('synchronous_commit', 'off', true)
),
due AS MATERIALIZED (
    SELECT id FROM {table}
    WHERE due_at <= (SELECT now FROM t)
    AND CASE WHEN claim IS NULL AND faults = 0 THEN true ELSE false END
    ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE {table} e SET claim = %s, due_at = t.now + make_interval(secs => %s), worker_id = %s
FROM t WHERE e.id = ANY(ARRAY(SELECT id FROM due))
RETURNING {columns}
"""  # noqa: S608
    return sql, ("double precision", "bigint", "uuid", "double precision", "bigint")


@lru_cache(maxsize=8)
def _commit(using: str, now: str) -> Statement:
    connection = connections[using]
    execution, call = (bulk.table_of(model, connection) for model in (Execution, Call))
    taken = {name: f"c.{name}" for name in _CALLS if name != "number"} | {
        "execution_id": "g.id",
        "created_at": "COALESCE(c.started_at, t.now)",
        "finished_at": "COALESCE(c.finished_at, t.now)",  # a reading of the clock has none
        "attempt": "CASE WHEN c.started_at IS NULL THEN 0 ELSE 1 END",
        "worker_id": "CASE WHEN c.started_at IS NOT NULL THEN t.worker END",
        "progress_message": "COALESCE(c.progress_message, '')",
        **{name: _literal(value) for name, value in SAME_OF_ANSWERED.items()},
    }
    columns = ", ".join(bulk.names_of(Call, list(taken), connection))
    sql = f"""
WITH t AS (SELECT {now} + make_interval(secs => %s) AS now, %s::bigint AS worker),
given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS g({_columns(_GIVEN)})
),
locked AS MATERIALIZED (
    SELECT g.* FROM {execution} e JOIN given g ON e.id = g.id
    WHERE e.id = ANY(%s) AND e.claim = g.claim AND e.turn = g.turn_before
    AND e.wakeups = g.wakeups
    AND ({bulk.ACTIVE}) AND NOT e.pause_requested AND e.grace_until IS NULL
    ORDER BY e.id FOR UPDATE OF e
),
made AS (
    INSERT INTO {call} ({columns})
    SELECT {", ".join(taken.values())}
    FROM t, json_to_recordset(%s) AS c({_columns(_CALLS)})
    JOIN locked g ON g.number = c.number
),
written AS (
    UPDATE {execution} e SET
        turn = g.turn,
        call_count = g.call_count,
        faults = 0,
        output = g.output,
        status = CASE
            WHEN g.is_last THEN '{ExecutionStatus.COMPLETED}' ELSE '{ExecutionStatus.WAITING}'
        END,
        clock_at = g.clock_at,
        log = e.log || COALESCE(g.log, ''),
        started_at = COALESCE(e.started_at, t.now),
        finished_at = CASE WHEN g.is_last THEN t.now END,
        claim = CASE WHEN g.is_last THEN NULL ELSE e.claim END,
        due_at = CASE
            WHEN g.is_last THEN NULL
            WHEN e.due_at < t.now + make_interval(secs => %s)
            THEN t.now + make_interval(secs => %s)
            ELSE e.due_at
        END,
        deadline = CASE WHEN g.is_last THEN NULL ELSE e.deadline END,
        position_start = CASE WHEN g.is_last THEN NULL ELSE e.position_start END,
        position_end = CASE WHEN g.is_last THEN NULL ELSE e.position_end END
    FROM locked g, t
    WHERE e.id = g.id
    RETURNING g.number
)
SELECT now, (SELECT array_agg(number) FROM written) FROM t
"""  # noqa: S608
    types = ("double precision", "bigint", "json", "uuid[]", "json", *["double precision"] * 2)
    return sql, types


def _columns(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in types.items())


def _literal(constant: str | bool | int) -> str:
    return f"'{constant}'" if isinstance(constant, str) else str(constant)
