"""The start and the claim of executions, each as one statement."""

from __future__ import annotations

import uuid
from datetime import timedelta

from durable_monty import conf
from durable_monty.models import Execution, clock
from durable_monty.operations import sql
from durable_monty.operations.database import Database
from durable_monty.operations.postgresql.names import (
    EXECUTION,
    NOW,
    NOW_WITHOUT_FSYNC,
    PROGRAM,
    VERSION,
    columns_of,
)
from durable_monty.operations.postgresql.prepared import rows_of
from durable_monty.operations.sources import Code

_BY_THE_SERVER = ("version_id", "program_id", "created_at", "due_at")
_GIVEN = [
    field.attname
    for field in Execution._meta.concrete_fields
    if field.attname not in _BY_THE_SERVER
]

START = f"""
INSERT INTO {EXECUTION} ({", ".join((*_GIVEN, *_BY_THE_SERVER))})
SELECT {sql.placeholders(_GIVEN)}, NULL::bigint, p.id, t.now, t.now
FROM {PROGRAM} p, (SELECT {NOW}) t
WHERE p.sha256 = %s
RETURNING version_id, program_id, created_at
"""

# The version is looked up each time: one that a process remembers may have been rolled back.
START_VERSION = START.replace("NULL::bigint", "v.id").replace(
    "WHERE p.sha256 = %s", f", {VERSION} v\nWHERE p.sha256 = %s AND v.name = %s AND v.digest = %s"
)

# CASE and ARRAY make the planner use the index of what is due and the primary key, whatever it
# knows: it takes a null for rare, and a table that nobody has analysed for small. The limit is
# selected, so that the planner does not see it.
CLAIM = f"""
WITH {NOW_WITHOUT_FSYNC},
due AS MATERIALIZED (
    SELECT id FROM {EXECUTION}
    WHERE due_at <= (SELECT now FROM t)
    AND CASE WHEN claim IS NULL AND faults = 0 THEN true ELSE false END
    ORDER BY due_at LIMIT (SELECT %s::bigint) FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE {EXECUTION} e SET
    claim = %s,
    due_at = t.now + make_interval(secs => %s),
    worker_id = %s
FROM t WHERE e.id = ANY(ARRAY(SELECT id FROM due))
RETURNING {columns_of(Execution, "e")}
"""


def start(database: Database, execution: Execution, code: Code) -> bool:
    given = [getattr(execution, name) for name in _GIVEN]
    values = [*given, clock.offset.total_seconds(), code.sha256]
    if code.digest:
        rows = rows_of(START_VERSION, [*values, code.name, code.digest], database.using)
    else:
        rows = rows_of(START, values, database.using)
    for version_id, program_id, created_at in rows:
        execution.version_id, execution.program_id = version_id, program_id
        execution.created_at = execution.due_at = clock.as_utc(created_at)
        execution._state.adding, execution._state.db = False, database.using
    return bool(rows)


def claim(database: Database, limit: int, worker_id: int | None) -> list[Execution]:
    offset, lease = clock.offset.total_seconds(), conf.current().LEASE
    rows = rows_of(CLAIM, [offset, limit, uuid.uuid4(), lease, worker_id], database.using)
    claimed = sql.instances(Execution, rows, database.using)
    for execution in claimed:
        # Not returned: to read a time takes the driver 7 us.
        assert execution.due_at is not None  # noqa: S101  (the end of the lease)
        execution.claimed_at = execution.due_at - timedelta(seconds=lease)
    return claimed
