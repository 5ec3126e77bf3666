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
from typing import Any, NamedTuple, TypeGuard

from django.db import connections

from durable_monty import conf
from durable_monty.models import Call, Execution, ExecutionStatus, Program, clock
from durable_monty.models.execution import uuid7
from durable_monty.models.program import identity_of
from durable_monty.operations import bulk
from durable_monty.operations.changes import Changes
from durable_monty.operations.new_calls import ANSWERED, SAME_OF_ANSWERED, answered_row
from durable_monty.operations.outcomes import Advanced, Outcome
from durable_monty.operations.prepared import rows_of
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
    sql, types = _start(using, _now())
    rows = rows_of(sql, types, [*values, clock.offset.total_seconds(), sha256], using=using)
    if not rows:
        return None
    execution.program_id, execution.created_at = rows[0]
    execution.due_at = execution.created_at
    execution._state.adding, execution._state.db = False, using
    return execution


def claim_plain(limit: int, *, using: str, worker_id: int | None) -> list[Execution]:
    """Claims due executions that no worker has lost, longest due first. Their programs are not
    read."""
    sql, types = _claim(using, _now())
    lease, offset = conf.current().LEASE, clock.offset.total_seconds()
    rows = rows_of(sql, types, [offset, limit, uuid.uuid4(), lease, worker_id], using=using)
    names = [field.attname for field in Execution._meta.concrete_fields]
    claimed = [Execution.from_db(using, names, row) for row in rows]
    return sorted(claimed, key=lambda execution: execution.pk)


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
    rows, calls = [], []
    for number, outcome in enumerate(outcomes):
        written = outcome.written
        rows.append(_row(number, outcome, len(written)))
        calls += [answered_row(call, outcome.execution.worker_id) for call in written]
    lease = conf.current().LEASE
    values = [
        clock.offset.total_seconds(),
        bulk.records(rows),
        [outcome.execution.pk for outcome in outcomes],
        bulk.records(calls),
        lease / 2,
        lease,
    ]
    sql, types = _commit(using, _now())
    [(now, numbers)] = rows_of(sql, types, values, using=using)
    return {
        outcomes[number].execution.pk: _changes(
            outcomes[number], rows[number], now, timedelta(seconds=lease)
        )
        for number in numbers or ()
    }


class _Row(NamedTuple):
    """In the order of the statement's c0, c1 ..."""

    pk: uuid.UUID
    claim: uuid.UUID | None
    turn_before: int
    wakeups: int
    turn: int
    call_count: int
    output: str | None
    is_last: bool
    clock_at: datetime | None
    log: str
    number: int


def _row(number: int, outcome: Advanced, calls: int) -> _Row:
    execution, ending = outcome.execution, outcome.ending
    return _Row(
        execution.pk,
        execution.claim,
        execution.turn,
        execution.wakeups,
        outcome.turn,
        execution.call_count + calls,
        ending.output if isinstance(ending, Completed) else None,
        outcome.is_last,
        outcome.clock_at,
        outcome.log,
        number,
    )


def _changes(outcome: Advanced, row: _Row, now: datetime, lease: timedelta) -> dict[str, Any]:
    """What its worker must know to go on with it, or that it is done."""
    if row.is_last:
        return {"turn": row.turn, "claim": None, "status": ExecutionStatus.COMPLETED}
    execution = outcome.execution
    due_at = execution.due_at
    assert due_at is not None  # noqa: S101  (the end of its lease)
    return {
        "turn": row.turn,
        "call_count": row.call_count,
        "log": execution.log + row.log,
        "clock_at": row.clock_at,
        "status": ExecutionStatus.WAITING,
        "faults": 0,
        "started_at": execution.started_at or now,
        "due_at": now + lease if due_at < now + lease / 2 else due_at,
    }


def _now() -> str:
    return f"({clock.NOW['postgresql']})::timestamptz"


_Statement = tuple[str, tuple[str, ...]]  # its text, and the types of its values


@lru_cache(maxsize=8)
def _start(using: str, now: str) -> _Statement:
    connection = connections[using]
    execution, program = (
        connection.ops.quote_name(model._meta.db_table) for model in (Execution, Program)
    )
    names = [field.attname for field in Execution._meta.concrete_fields]
    given = [name for name in names if name not in _BY_THE_SERVER]
    columns = ", ".join(bulk.names_of(Execution, (*given, *_BY_THE_SERVER), connection))
    types = bulk.types_of(Execution, given, connection)
    sql = f"""
INSERT INTO {execution} ({columns})
SELECT {", ".join(["%s"] * len(given))}, p.id, t.now, t.now
FROM {program} p, (SELECT {now} + make_interval(secs => %s) AS now) t
WHERE p.sha256 = %s
RETURNING program_id, created_at
"""  # noqa: S608
    return sql, (*types, "double precision", "text")


@lru_cache(maxsize=8)
def _claim(using: str, now: str) -> _Statement:
    # Not waiting for the disk: a claim that is lost with the server's power was only a lease.
    connection = connections[using]
    table = connection.ops.quote_name(Execution._meta.db_table)
    names = [field.attname for field in Execution._meta.concrete_fields]
    columns = ", ".join(f"e.{name}" for name in bulk.names_of(Execution, names, connection))
    sql = f"""
WITH t AS MATERIALIZED (
    SELECT {now} + make_interval(secs => %s) AS now,
    set_config('synchronous_commit', 'off', true)
),
due AS MATERIALIZED (
    SELECT id FROM {table}, t
    WHERE due_at <= t.now AND claim IS NULL AND faults = 0
    ORDER BY due_at LIMIT %s FOR UPDATE OF {table} SKIP LOCKED
)
UPDATE {table} e SET claim = %s, due_at = t.now + make_interval(secs => %s), worker_id = %s
FROM t, due WHERE e.id = due.id
RETURNING {columns}
"""  # noqa: S608
    return sql, ("double precision", "bigint", "uuid", "double precision", "bigint")


@lru_cache(maxsize=8)
def _commit(using: str, now: str) -> _Statement:
    connection = connections[using]
    execution, call = (
        connection.ops.quote_name(model._meta.db_table) for model in (Execution, Call)
    )
    given = bulk.record(
        Execution,
        ("id", "claim", "turn", "wakeups", "turn", "call_count", "output"),
        connection,
    )
    columns = ", ".join(bulk.names_of(Call, (*ANSWERED, *SAME_OF_ANSWERED), connection))
    wanted = [f"c{i}" for i in range(len(ANSWERED))]
    for name in ("created_at", "finished_at"):  # none were noted of clock readings
        at = ANSWERED.index(name)
        wanted[at] = f"COALESCE(c{at}, t.now)"
    wanted += [_literal(value) for value in SAME_OF_ANSWERED.values()]
    sql = f"""
WITH t AS (SELECT {now} + make_interval(secs => %s) AS now),
given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s)
    AS g({given}, c7 boolean, c8 timestamptz, c9 text, c10 integer)
),
locked AS MATERIALIZED (
    SELECT e.id FROM {execution} e JOIN given g ON e.id = g.c0
    WHERE e.id = ANY(%s) AND e.claim = g.c1 AND e.turn = g.c2 AND e.wakeups = g.c3
    AND ({bulk.ACTIVE}) AND NOT e.pause_requested AND e.grace_until IS NULL
    ORDER BY e.id FOR UPDATE OF e
),
made AS (
    INSERT INTO {call} ({columns})
    SELECT {", ".join(wanted)}
    FROM t, json_to_recordset(%s) AS c({bulk.record(Call, ANSWERED, connection)})
    WHERE c0 IN (SELECT id FROM locked)
),
written AS (
UPDATE {execution} e SET
    turn = c4,
    call_count = c5,
    faults = 0,
    output = c6,
    status = CASE WHEN c7 THEN '{ExecutionStatus.COMPLETED}' ELSE '{ExecutionStatus.WAITING}' END,
    clock_at = c8,
    log = e.log || c9,
    started_at = COALESCE(e.started_at, t.now),
    finished_at = CASE WHEN c7 THEN t.now END,
    claim = CASE WHEN c7 THEN NULL ELSE e.claim END,
    due_at = CASE
        WHEN c7 THEN NULL
        WHEN e.due_at < t.now + make_interval(secs => %s) THEN t.now + make_interval(secs => %s)
        ELSE e.due_at
    END,
    deadline = CASE WHEN c7 THEN NULL ELSE e.deadline END,
    position_start = CASE WHEN c7 THEN NULL ELSE e.position_start END,
    position_end = CASE WHEN c7 THEN NULL ELSE e.position_end END
FROM locked, given, t
WHERE e.id = locked.id AND locked.id = c0
RETURNING c10
)
SELECT now, (SELECT array_agg(c10) FROM written) FROM t
"""  # noqa: S608
    return sql, ("double precision", "json", "uuid[]", "json", *["double precision"] * 2)


def _literal(constant: str | bool | int) -> str:
    return f"'{constant}'" if isinstance(constant, str) else str(constant)
