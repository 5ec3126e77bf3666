"""The commit of a batch of executions as one statement.

Executions that failed, that have snapshots to write, or that are to pause or end, are left to the
portable commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeGuard

from django.db import connections

from durable_monty import conf
from durable_monty.functions import policy_of
from durable_monty.kinds import kind_of
from durable_monty.models import Call, CallStatus, ExecutionStatus, clock
from durable_monty.models.call import OPEN
from durable_monty.operations import sql
from durable_monty.operations.call_rows import CONSTANT, GIVEN, NEW
from durable_monty.operations.database import Database
from durable_monty.operations.outcomes import Outcome, TurnResult
from durable_monty.operations.postgresql.names import CALL, EXECUTION, NOW, SNAPSHOT, texts_of
from durable_monty.operations.postgresql.prepared import rows_of
from durable_monty.operations.postgresql.turn_rows import TURN, call_row, turn_row
from durable_monty.operations.transitions import Changes
from durable_monty.policy import NO_TIMEOUTS
from durable_monty.sandbox import Completed, Suspended

# What is done to rows that were written by earlier commits.
_EARLIER_ROWS = f""",
answers AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS a(id bigint, number integer)
),
delivered AS (
    UPDATE {CALL} c SET delivered_turn = g.turn, after_load = COALESCE(g.is_loaded, FALSE)
    FROM answers a JOIN locked g ON g.number = a.number
    WHERE c.id = a.id AND c.id = ANY(ARRAY(SELECT id FROM answers))
),
ended AS MATERIALIZED (SELECT id FROM locked WHERE has_rows),
left_open AS MATERIALIZED (
    SELECT c.id FROM {CALL} c
    WHERE c.execution_id = ANY(ARRAY(SELECT id FROM ended)) AND c.status IN ({texts_of(OPEN)})
    ORDER BY c.id FOR NO KEY UPDATE
),
withdrawn AS (
    UPDATE {CALL} c SET
        status = '{CallStatus.CANCELLED}',
        finished_at = t.now,
        due_at = NULL,
        deadline_at = NULL
    FROM t WHERE c.id = ANY(ARRAY(SELECT id FROM left_open))
),
forgotten AS (
    DELETE FROM {SNAPSHOT} s WHERE s.execution_id = ANY(ARRAY(SELECT id FROM ended))
)"""


def can_write(outcome: Outcome) -> TypeGuard[TurnResult]:
    """Returns whether an outcome only adds to the journal, and then the execution stays claimed,
    parks or completes."""
    if not isinstance(outcome, TurnResult) or outcome.packed is not None or not outcome.turns:
        return False
    if outcome.faulted or outcome.loaded_turn not in (None, outcome.turn):
        return False
    is_answered = all(call.answer is not None for call in outcome.written)
    if isinstance(ending := outcome.ending, Completed):
        return is_answered and not ending.left
    if outcome.holds:
        return is_answered
    # A call without an answer must wait for whoever is to run it, however long.
    return isinstance(outcome.turns[-1].outcome, Suspended) and all(
        call.answer is not None
        or (
            kind_of(call).has_shortcut
            and call.started_at is None
            and policy_of(call).timeouts == NO_TIMEOUTS
        )
        for call in outcome.calls
    )


def commit(database: Database, outcomes: Sequence[Outcome]) -> Changes:
    """Leaves out executions whose rows ask for something, or that another worker has claimed."""
    results = [outcome for outcome in outcomes if can_write(outcome)]
    if not results:
        return {}
    turns, calls, answers = [], [], []
    for number, result in enumerate(results):
        written = result.written
        turns.append(turn_row(number, result, written))
        calls += [call_row(number, call) for call in written]
        answers += [{"id": pk, "number": number} for pk in result.delivered]
    lease = conf.current().LEASE
    values = [
        clock.offset.total_seconds(),
        results[0].execution.worker_id,  # this worker has claimed all of them
        sql.as_json(turns),
        sql.as_json(calls),
        lease / 2,
        lease,
    ]
    has_earlier = any(
        result.delivered or (result.is_last and not result.is_clean) for result in results
    )
    if has_earlier:
        values.append(sql.as_json(answers))
    changes = {}
    text = statement(database.using, has_earlier=has_earlier)
    for row in rows_of(text, values, database.using):
        number, turn, call_count, faults, status, is_given_up, due_at, started_at = row
        result = results[number]
        execution = result.execution
        columns = {
            "turn": turn,
            "call_count": call_count,
            "faults": faults,
            "status": status,
            "clock_at": result.clock_at,
        }
        if is_given_up:
            columns["claim"] = columns["due_at"] = None
        if due_at is not None:
            columns["due_at"] = clock.as_utc(due_at)
        if started_at is not None:
            columns["started_at"] = clock.as_utc(started_at)
        if log := result.log:
            columns["log"] = execution.log + log
        changes[execution.pk] = columns
    return changes


# The seven statements of the portable commit took three times as long. Each is a round trip, and
# the GIL changes hands during it.
@lru_cache(maxsize=8)
def statement(using: str, *, has_earlier: bool) -> str:
    """Returns the statement, which also changes rows of earlier commits if there are any."""
    # Not all of `NEW`: the server would search each row for each of them.
    types = sql.types_of(Call, GIVEN, connections[using])
    calls = ", ".join(f"{name} {kind}" for name, kind in zip(GIVEN, types, strict=True))
    turns = ", ".join(f"{name} {kind}" for name, kind in TURN.items())
    columns = {
        **{name: _literal(value) for name, value in (NEW | CONSTANT).items()},
        **{name: f"COALESCE(c.{name}, {_literal(NEW[name])})" for name in GIVEN},
        "execution_id": "g.id",
        "created_at": "COALESCE(c.started_at, t.now)",
        "worker_id": "CASE WHEN c.started_at IS NOT NULL THEN t.worker END",
        # A reading of the clock has no times of its own.
        "finished_at": "CASE WHEN c.result IS NOT NULL THEN COALESCE(c.finished_at, t.now) END",
        "due_at": "t.now + make_interval(secs => c.due_in)",
    }
    return f"""
WITH t AS (SELECT {NOW}, %s::bigint AS worker),
given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS g({turns})
),
locked AS MATERIALIZED (
    SELECT g.*, e.due_at AS due_before, e.started_at AS started_before
    FROM {EXECUTION} e JOIN given g ON e.id = g.id
    WHERE e.id = ANY(ARRAY(SELECT id FROM given)) AND e.claim = g.claim AND e.turn = g.turn_before
    AND (e.wakeups = g.wakeups OR g.is_parked)
    AND ({sql.ACTIVE}) AND NOT e.pause_requested AND e.grace_until IS NULL
    ORDER BY e.id FOR NO KEY UPDATE OF e SKIP LOCKED
),
made AS (
    INSERT INTO {CALL} ({", ".join(columns)})
    SELECT {", ".join(columns.values())}
    FROM t, json_to_recordset(%s) AS c(number integer, due_in double precision, {calls})
    JOIN locked g ON g.number = c.number
),
written AS (
    UPDATE {EXECUTION} e SET
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
    RETURNING g.number, e.turn, e.call_count, e.faults, e.status, e.claim IS NULL,
        -- Times only where they are new: to read one takes the driver 7 us.
        CASE WHEN e.claim IS NULL THEN e.due_at ELSE NULLIF(e.due_at, g.due_before) END,
        CASE WHEN e.claim IS NOT NULL AND g.started_before IS NULL THEN e.started_at END
){_EARLIER_ROWS if has_earlier else ""}
SELECT * FROM written
"""


def _literal(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case str():
            return f"'{value}'"
        case _:
            return str(value)
