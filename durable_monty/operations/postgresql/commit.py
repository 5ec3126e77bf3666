"""The usual commit of a batch of executions, as one statement on PostgreSQL.

What `commit` does in seven statements took three times as long. Executions that something is
wanted of, that failed, or that have snapshots to write, are left to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, TypeGuard

from django.db import connections

from durable_monty import conf
from durable_monty.functions import NO_TIMEOUTS
from durable_monty.kinds import kind_of
from durable_monty.models import Call, CallStatus, Execution, ExecutionStatus, Snapshot, clock
from durable_monty.models.call import OPEN
from durable_monty.operations import sql
from durable_monty.operations.call_rows import SAME_OF_ANSWERED
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.outcomes import Outcome, TurnResult
from durable_monty.operations.postgresql.prepared import Statement, rows_of
from durable_monty.operations.postgresql.rows import (
    CALLS,
    GIVEN,
    call_row,
    columns_of,
    execution_row,
)
from durable_monty.operations.schedule import timeouts_of
from durable_monty.operations.transitions import Changes
from durable_monty.sandbox import Completed, Suspended


def is_plain(outcome: Outcome) -> TypeGuard[TurnResult]:
    """Whether it only adds to the journal, and is held, parked or completed with that."""
    if not isinstance(outcome, TurnResult) or outcome.packed is not None or not outcome.turns:
        return False
    if outcome.faulted or outcome.loaded_turn not in (None, outcome.turn):
        return False
    is_answered = all(call.answer is not None for call in outcome.written)
    if isinstance(ending := outcome.ending, Completed):
        return is_answered and not ending.left
    if outcome.holds:
        return is_answered
    return isinstance(outcome.turns[-1].outcome, Suspended) and (
        is_answered or all(map(_is_ordinary, outcome.calls))
    )


def _is_ordinary(call: NewCall) -> bool:
    """Whether it has its answer, or waits for whoever is to run it, however long."""
    if call.answer is not None:
        return True
    has_shortcut = kind_of(call).has_shortcut and call.started_at is None
    return has_shortcut and timeouts_of(call.function) == NO_TIMEOUTS


def commit_plain(outcomes: Sequence[TurnResult], *, using: str) -> Changes:
    """The changes of those that were written; the others' rows ask for something, or are not
    ours any more."""
    if not outcomes:
        return {}
    rows, calls = [], []
    for number, outcome in enumerate(outcomes):
        written = outcome.written
        rows.append(execution_row(number, outcome, written))
        calls += [call_row(number, call) for call in written]
    lease = conf.current().LEASE
    values = [
        clock.offset.total_seconds(),
        outcomes[0].execution.worker_id,  # all are held by this worker
        sql.as_json(rows),
        sql.as_json(calls),
        lease / 2,
        lease,
    ]
    if not (is_young := all(map(_is_young, outcomes))):
        values.append(sql.as_json(_delivered(outcomes)))
    statement = _commit(using, clock.sql_now(), is_young=is_young)
    [(at, numbers, due)] = rows_of(*statement, values, using=using)
    now = clock.as_utc(at)
    return {
        outcomes[number].execution.id: _changes(
            outcomes[number], rows[number], now, now if number in due else None, lease
        )
        for number in numbers
    }


def _is_young(outcome: TurnResult) -> bool:
    """Whether no row is to be changed but its own."""
    return not outcome.delivered and (not outcome.is_last or outcome.is_clean)


def _delivered(outcomes: Sequence[TurnResult]) -> list[dict[str, int]]:
    """The answers whose calls have rows already."""
    return [
        {"id": pk, "number": number}
        for number, outcome in enumerate(outcomes)
        for pk in outcome.delivered
    ]


def _changes(
    outcome: TurnResult,
    row: Mapping[str, Any],
    now: datetime,
    due_at: datetime | None,
    lease_seconds: float,
) -> dict[str, Any]:
    """What its worker must know to go on with it, or that it is done."""
    if "is_last" in row:
        return {"turn": row["turn"], "claim": None, "status": ExecutionStatus.COMPLETED}
    if "is_parked" in row:
        status = ExecutionStatus.WAITING
        return {"turn": row["turn"], "claim": None, "status": status, "due_at": due_at}
    execution, lease = outcome.execution, timedelta(seconds=lease_seconds)
    lease_ends = execution.due_at
    assert lease_ends is not None  # noqa: S101  (it is claimed)
    changes = {
        "turn": row["turn"],
        "call_count": row["call_count"],
        "clock_at": outcome.clock_at,
        "status": ExecutionStatus.WAITING,
        "faults": 0,
        "started_at": execution.started_at or now,
        "due_at": now + lease if lease_ends < now + lease / 2 else lease_ends,
    }
    return changes | {"log": execution.log + row["log"]} if "log" in row else changes


@lru_cache(maxsize=8)
def _commit(using: str, now: str, *, is_young: bool) -> Statement:
    connection = connections[using]
    execution, call = (sql.table_of(model, connection) for model in (Execution, Call))
    taken = {name: f"c.{name}" for name in CALLS if name not in ("number", "due_in")} | {
        "execution_id": "g.id",
        "created_at": "COALESCE(c.started_at, t.now)",
        "attempt": "CASE WHEN c.started_at IS NULL THEN 0 ELSE 1 END",
        "worker_id": "CASE WHEN c.started_at IS NOT NULL THEN t.worker END",
        "progress_message": "COALESCE(c.progress_message, '')",
        **{name: _literal(value) for name, value in SAME_OF_ANSWERED.items()},
        "status": f"CASE WHEN c.result IS NULL THEN '{CallStatus.PENDING}' "
        f"ELSE '{CallStatus.COMPLETED}' END",
        # A reading of the clock has no times of its own.
        "finished_at": "CASE WHEN c.result IS NOT NULL THEN COALESCE(c.finished_at, t.now) END",
        "due_at": "t.now + make_interval(secs => c.due_in)",
    }
    columns = ", ".join(sql.names_of(Call, list(taken), connection))
    before = "" if is_young else _before(using)
    text = f"""
WITH t AS (SELECT {now} + make_interval(secs => %s) AS now, %s::bigint AS worker),
given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS g({columns_of(GIVEN)})
),
locked AS MATERIALIZED (
    SELECT g.* FROM {execution} e JOIN given g ON e.id = g.id
    WHERE e.id = ANY(ARRAY(SELECT id FROM given)) AND e.claim = g.claim AND e.turn = g.turn_before
    AND (e.wakeups = g.wakeups OR g.is_parked)
    AND ({sql.ACTIVE}) AND NOT e.pause_requested AND e.grace_until IS NULL
    ORDER BY e.id FOR UPDATE OF e
),
made AS (
    INSERT INTO {call} ({columns})
    SELECT {", ".join(taken.values())}
    FROM t, json_to_recordset(%s) AS c({columns_of(CALLS)})
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
        claim = CASE WHEN g.is_last OR g.is_parked THEN NULL ELSE e.claim END,
        due_at = CASE
            WHEN g.is_last THEN NULL
            WHEN g.is_parked THEN CASE WHEN g.is_due OR e.wakeups <> g.wakeups THEN t.now END
            WHEN e.due_at < t.now + make_interval(secs => %s)
            THEN t.now + make_interval(secs => %s)
            ELSE e.due_at
        END,
        deadline = CASE WHEN g.is_last THEN NULL ELSE e.deadline END,
        position_start = CASE
            WHEN g.is_last OR g.is_parked THEN g.position_start ELSE e.position_start
        END,
        position_end = CASE
            WHEN g.is_last OR g.is_parked THEN g.position_end ELSE e.position_end
        END
    FROM locked g, t
    WHERE e.id = g.id
    RETURNING g.number, g.is_parked AND e.due_at IS NOT NULL AS is_due
){before}
SELECT
    now,
    ARRAY(SELECT number FROM written),
    ARRAY(SELECT number FROM written WHERE is_due)
FROM t
"""  # noqa: S608
    types = ("double precision", "bigint", "json", "json", *["double precision"] * 2)
    return text, types if is_young else (*types, "json")


def _before(using: str) -> str:
    """What is done to rows that were written before."""
    connection = connections[using]
    call, snapshot = (sql.table_of(model, connection) for model in (Call, Snapshot))
    return f""",
answers AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS a(id bigint, number integer)
),
delivered AS (
    UPDATE {call} c SET delivered_turn = g.turn, after_load = COALESCE(g.is_loaded, FALSE)
    FROM answers a JOIN locked g ON g.number = a.number
    WHERE c.id = a.id AND c.id = ANY(ARRAY(SELECT id FROM answers))
),
ended AS MATERIALIZED (SELECT id FROM locked WHERE has_rows),
left_open AS MATERIALIZED (
    SELECT c.id FROM {call} c
    WHERE c.execution_id = ANY(ARRAY(SELECT id FROM ended)) AND c.status IN ({sql.texts_of(OPEN)})
    ORDER BY c.id FOR UPDATE
),
withdrawn AS (
    UPDATE {call} c SET
        status = '{CallStatus.CANCELLED}',
        finished_at = t.now,
        due_at = NULL,
        deadline_at = NULL
    FROM t WHERE c.id = ANY(ARRAY(SELECT id FROM left_open))
),
forgotten AS (
    DELETE FROM {snapshot} s WHERE s.execution_id = ANY(ARRAY(SELECT id FROM ended))
)"""  # noqa: S608


def _literal(constant: str | bool | int) -> str:
    return f"'{constant}'" if isinstance(constant, str) else str(constant)
