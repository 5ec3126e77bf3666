"""The usual start and claim of executions, each as one statement on PostgreSQL.

Each statement is a way to the server and back, and the worker's other threads run meanwhile. What
these do not do, of executions that were lost before, is left to `claim_executions`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from functools import lru_cache

from django.db import connections

from durable_monty import conf
from durable_monty.models import Execution, Program, clock
from durable_monty.models.execution import uuid7
from durable_monty.models.program import identity_of
from durable_monty.operations import bulk
from durable_monty.operations.prepared import Statement, rows_of

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
    # CASE and ARRAY, for a plan by the index of what is due and the key whatever the planner
    # knows: it takes a null for rare, and a table that nobody has analysed for small. The limit is
    # selected for the reason of `bulk.array_of`.
    connection = connections[using]
    table = bulk.table_of(Execution, connection)
    columns = bulk.all_names_of(Execution, "e", connection)
    sql = f"""
WITH {bulk.leisurely(now)},
due AS MATERIALIZED (
    SELECT id FROM {table}
    WHERE due_at <= (SELECT now FROM t)
    AND CASE WHEN claim IS NULL AND faults = 0 THEN true ELSE false END
    ORDER BY due_at LIMIT (SELECT %s::bigint) FOR UPDATE SKIP LOCKED
)
UPDATE {table} e SET claim = %s, due_at = t.now + make_interval(secs => %s), worker_id = %s
FROM t WHERE e.id = ANY(ARRAY(SELECT id FROM due))
RETURNING {columns}
"""  # noqa: S608
    return sql, ("double precision", "bigint", "uuid", "double precision", "bigint")
