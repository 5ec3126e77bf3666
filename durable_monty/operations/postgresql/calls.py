"""What a cluster does with an ordinary call, each as one statement on PostgreSQL: its claim, its
start, and its result.

Calls that were lost before, that have time-outs, or that gave an error go the long way.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from functools import lru_cache

from django.db import connections

from durable_monty import conf
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.models import Call, CallStatus, Execution, clock
from durable_monty.models.call import OPEN
from durable_monty.operations import sql
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.postgresql.prepared import Statement, rows_of

_OPEN = sql.texts_of(OPEN)


def claim_plain_calls(
    functions: Collection[str],
    executors: Collection[str],
    limit: int,
    *,
    using: str,
    worker_id: int | None,
) -> list[ClaimedCall]:
    """Claims due calls that nobody has claimed before, longest due first."""
    token = uuid.uuid4()
    values = [
        clock.offset.total_seconds(),
        limit,
        list(executors),
        list(functions),
        token,
        conf.current().LEASE,
        worker_id,
    ]
    rows = rows_of(*_claim(using, clock.sql_now()), values, using=using)
    ordinary = set(_ordinary())
    return [
        ClaimedCall(pk, token, alone=was_tried or function not in ordinary)
        for pk, function, was_tried in rows
    ]


def start_plain_attempts(claims: Sequence[ClaimedCall], *, using: str) -> list[Call]:
    """Those that were started; the others' functions have time-outs, or they are not ours."""
    values = [
        clock.offset.total_seconds(),
        [claimed.pk for claimed in claims],
        list({claimed.token for claimed in claims}),
        _ordinary(),
        conf.current().LEASE,
    ]
    rows = rows_of(*_start(using, clock.sql_now()), values, using=using)
    return sql.instances(Call, rows, using)


def settle_plain_results(results: Sequence[tuple[ClaimedCall, str]], *, using: str) -> set[int]:
    """Records results and wakes their executions; the keys of the calls whose claims held."""
    given = [
        {"id": claimed.pk, "token": claimed.token.hex, "result": result}
        for claimed, result in results
    ]
    values = [clock.offset.total_seconds(), sql.as_json(given)]
    return {pk for (pk,) in rows_of(*_settle(using, clock.sql_now()), values, using=using)}


def _ordinary() -> list[str]:
    return [name for name, entry in FUNCTION_REGISTRY.items() if not entry.needs_its_row]


@lru_cache(maxsize=8)
def _claim(using: str, now: str) -> Statement:
    call, names = sql.table_of(Call, connections[using]), sql.array_of("text")
    text = f"""
WITH {sql.now_without_fsync(now)},
few AS (SELECT %s::bigint AS few),
due AS MATERIALIZED (
    SELECT c.id, c.was_tried
    FROM unnest({names}) AS e(name), unnest({names}) AS f(name), LATERAL (
        SELECT id, due_at, started_at IS NOT NULL OR losses > 0 AS was_tried FROM {call}
        WHERE executor = e.name AND function = f.name AND due_at <= (SELECT now FROM t)
        AND claim IS NULL AND job_id = ''
        AND (deadline_at IS NULL OR deadline_at > (SELECT now FROM t))
        ORDER BY due_at LIMIT (SELECT few FROM few) FOR UPDATE SKIP LOCKED
    ) c
    ORDER BY c.due_at LIMIT (SELECT few FROM few)
)
UPDATE {call} c SET
    claim = %s,
    status = '{CallStatus.SUBMITTED}',
    due_at = t.now + make_interval(secs => %s),
    started_at = NULL,
    worker_id = %s
FROM due, t WHERE c.id = due.id AND c.id = ANY(ARRAY(SELECT id FROM due))
RETURNING c.id, c.function, due.was_tried
"""  # noqa: S608
    interval = "double precision"
    return text, (interval, "bigint", "text[]", "text[]", "uuid", interval, "bigint")


@lru_cache(maxsize=8)
def _start(using: str, now: str) -> Statement:
    connection = connections[using]
    call = sql.table_of(Call, connection)
    columns = sql.all_names_of(Call, "c", connection)
    text = f"""
WITH {sql.now_without_fsync(now)},
held AS MATERIALIZED (
    SELECT id FROM {call}
    WHERE id = ANY({sql.array_of("bigint")}) AND claim = ANY({sql.array_of("uuid")})
    AND function = ANY({sql.array_of("text")})
    AND status IN ({_OPEN}) AND started_at IS NULL
    ORDER BY id FOR UPDATE
)
UPDATE {call} c SET
    attempt = c.attempt + 1,
    started_at = t.now,
    due_at = t.now + make_interval(secs => %s),
    start_by = NULL,
    attempt_end_by = NULL,
    heartbeat_by = NULL,
    deadline_at = c.close_by
FROM held, t WHERE c.id = held.id
RETURNING {columns}
"""  # noqa: S608
    return text, ("double precision", "bigint[]", "uuid[]", "text[]", "double precision")


@lru_cache(maxsize=8)
def _settle(using: str, now: str) -> Statement:
    connection = connections[using]
    call, execution = (sql.table_of(model, connection) for model in (Call, Execution))
    # Executions are locked before calls, each in id order, as in every write.
    text = f"""
WITH t AS (SELECT {now} + make_interval(secs => %s) AS now),
given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS g(id bigint, token uuid, result text)
),
found AS MATERIALIZED (
    SELECT c.id, c.execution_id, g.token, g.result FROM {call} c JOIN given g ON c.id = g.id
    WHERE c.id = ANY(ARRAY(SELECT id FROM given))
    AND c.claim = g.token AND c.status = '{CallStatus.SUBMITTED}'
),
waiting AS MATERIALIZED (
    SELECT id FROM {execution} WHERE id IN (SELECT execution_id FROM found)
    ORDER BY id FOR UPDATE
),
held AS MATERIALIZED (
    SELECT c.id, c.execution_id, f.result FROM {call} c JOIN found f ON c.id = f.id
    WHERE c.execution_id IN (SELECT id FROM waiting)
    AND c.claim = f.token AND c.status = '{CallStatus.SUBMITTED}'
    ORDER BY c.id FOR UPDATE OF c
),
woken AS (
    UPDATE {execution} e SET
        wakeups = e.wakeups + 1,
        due_at = CASE WHEN e.claim IS NULL AND ({sql.ACTIVE}) THEN t.now ELSE e.due_at END
    FROM t WHERE e.id IN (SELECT execution_id FROM held)
)
UPDATE {call} c SET
    status = '{CallStatus.COMPLETED}',
    result = held.result,
    finished_at = t.now,
    due_at = NULL,
    deadline_at = NULL
FROM held, t WHERE c.id = held.id
RETURNING c.id
"""  # noqa: S608
    return text, ("double precision", "json")
