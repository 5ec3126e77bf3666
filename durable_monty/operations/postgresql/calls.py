"""The steps of an ordinary call in a cluster, each as one statement: claim, start and result.

Calls that were lost before, that have time-outs, or that gave an error are left to the portable
code.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence

from durable_monty import conf
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.models import Call, CallStatus, clock
from durable_monty.models.call import OPEN
from durable_monty.operations import sql
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.database import Database
from durable_monty.operations.postgresql.names import (
    CALL,
    EXECUTION,
    NOW,
    NOW_WITHOUT_FSYNC,
    array_of,
    columns_of,
    texts_of,
)
from durable_monty.operations.postgresql.prepared import rows_of

CLAIM = f"""
WITH {NOW_WITHOUT_FSYNC},
few AS (SELECT %s::bigint AS few),
due AS MATERIALIZED (
    SELECT c.id, c.was_tried
    FROM unnest({array_of("text")}) AS e(name), unnest({array_of("text")}) AS f(name), LATERAL (
        SELECT id, due_at, started_at IS NOT NULL OR losses > 0 AS was_tried FROM {CALL}
        WHERE executor = e.name AND function = f.name AND due_at <= (SELECT now FROM t)
        AND claim IS NULL AND job_id = ''
        AND (deadline_at IS NULL OR deadline_at > (SELECT now FROM t))
        ORDER BY due_at LIMIT (SELECT few FROM few) FOR NO KEY UPDATE SKIP LOCKED
    ) c
    ORDER BY c.due_at LIMIT (SELECT few FROM few)
)
UPDATE {CALL} c SET
    claim = %s,
    status = '{CallStatus.SUBMITTED}',
    due_at = t.now + make_interval(secs => %s),
    started_at = NULL,
    worker_id = %s
FROM due, t WHERE c.id = due.id AND c.id = ANY(ARRAY(SELECT id FROM due))
RETURNING c.id, c.function, due.was_tried
"""

START = f"""
WITH {NOW_WITHOUT_FSYNC},
claimed AS MATERIALIZED (
    SELECT id FROM {CALL}
    WHERE id = ANY({array_of("bigint")}) AND claim = ANY({array_of("uuid")})
    AND function = ANY({array_of("text")})
    AND status IN ({texts_of(OPEN)}) AND started_at IS NULL
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE {CALL} c SET
    attempt = c.attempt + 1,
    started_at = t.now,
    due_at = t.now + make_interval(secs => %s),
    start_by = NULL,
    attempt_end_by = NULL,
    heartbeat_by = NULL,
    deadline_at = c.close_by
FROM claimed, t WHERE c.id = claimed.id
RETURNING {columns_of(Call, "c")}
"""

# It locks executions before calls, each in id order, as every write does.
SETTLE = f"""
WITH t AS (SELECT {NOW}),
given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS g(id bigint, token uuid, result text)
),
found AS MATERIALIZED (
    SELECT c.id, c.execution_id, g.token, g.result FROM {CALL} c JOIN given g ON c.id = g.id
    WHERE c.id = ANY(ARRAY(SELECT id FROM given))
    AND c.claim = g.token AND c.status = '{CallStatus.SUBMITTED}'
),
waiting AS MATERIALIZED (
    SELECT id FROM {EXECUTION} WHERE id IN (SELECT execution_id FROM found)
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
),
claimed AS MATERIALIZED (
    SELECT c.id, c.execution_id, f.result FROM {CALL} c JOIN found f ON c.id = f.id
    WHERE c.execution_id IN (SELECT id FROM waiting)
    AND c.claim = f.token AND c.status = '{CallStatus.SUBMITTED}'
    ORDER BY c.id FOR NO KEY UPDATE OF c
),
woken AS (
    UPDATE {EXECUTION} e SET
        wakeups = e.wakeups + 1,
        due_at = CASE WHEN e.claim IS NULL AND ({sql.ACTIVE}) THEN t.now ELSE e.due_at END
    FROM t WHERE e.id IN (SELECT execution_id FROM claimed)
)
UPDATE {CALL} c SET
    status = '{CallStatus.COMPLETED}',
    result = claimed.result,
    finished_at = t.now,
    due_at = NULL,
    deadline_at = NULL
FROM claimed, t WHERE c.id = claimed.id
RETURNING c.id
"""


def claim(
    database: Database,
    functions: Collection[str],
    executors: Collection[str],
    limit: int,
    worker_id: int | None,
) -> list[ClaimedCall]:
    token, lease = uuid.uuid4(), conf.current().LEASE
    names = [list(executors), list(functions)]
    values = [clock.offset.total_seconds(), limit, *names, token, lease, worker_id]
    ordinary = set(_ordinary_functions())
    return [
        ClaimedCall(pk, token, alone=was_tried or function not in ordinary)
        for pk, function, was_tried in rows_of(CLAIM, values, database.using)
    ]


def start(database: Database, claims: Sequence[ClaimedCall]) -> list[Call]:
    values = [
        clock.offset.total_seconds(),
        [claimed.pk for claimed in claims],
        list({claimed.token for claimed in claims}),
        _ordinary_functions(),
        conf.current().LEASE,
    ]
    return sql.instances(Call, rows_of(START, values, database.using), database.using)


def settle(database: Database, results: Sequence[tuple[ClaimedCall, str]]) -> set[int]:
    given = [
        {"id": claimed.pk, "token": claimed.token.hex, "result": result}
        for claimed, result in results
    ]
    values = [clock.offset.total_seconds(), sql.as_json(given)]
    return {pk for (pk,) in rows_of(SETTLE, values, database.using)}


def _ordinary_functions() -> list[str]:
    return [name for name, entry in FUNCTION_REGISTRY.items() if not entry.policy.needs_its_row]
