"""The usual start and claim of executions, in as few statements as can be.

Each statement is a way to the server and back, or gives way to the worker's other threads. What
these do not do, of executions that were lost before, is left to `claim_executions`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from functools import lru_cache

from django.db import connections

from durable_monty import conf
from durable_monty.models import Execution, Program, clock
from durable_monty.models.execution import uuid7
from durable_monty.models.program import identity_of
from durable_monty.operations import sql
from durable_monty.operations.leases import lease
from durable_monty.operations.postgresql.prepared import Statement, rows_of
from durable_monty.operations.transactions import write

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
    execution.program_id, created_at = rows[0]
    execution.created_at = execution.due_at = clock.as_utc(created_at)
    execution._state.adding, execution._state.db = False, using
    return execution


def claim_plain(limit: int, *, using: str, worker_id: int | None) -> list[Execution]:
    """Claims due executions that no worker has lost, longest due first. Their programs are not
    read. For PostgreSQL and SQLite."""
    if connections[using].vendor == "sqlite":
        return _claim_on_sqlite(limit, using, worker_id)
    offset = clock.offset.total_seconds()
    values = [offset, limit, uuid.uuid4(), conf.current().LEASE, worker_id]
    rows = rows_of(*_claim(using, clock.sql_now()), values, using=using)
    return sql.instances(Execution, rows, using)


@lru_cache(maxsize=8)
def _start(using: str, now: str) -> Statement:
    connection = connections[using]
    execution, program = (sql.table_of(model, connection) for model in (Execution, Program))
    names = [field.attname for field in Execution._meta.concrete_fields]
    given = [name for name in names if name not in _BY_THE_SERVER]
    columns = ", ".join(sql.names_of(Execution, (*given, *_BY_THE_SERVER), connection))
    types = sql.types_of(Execution, given, connection)
    text = f"""
INSERT INTO {execution} ({columns})
SELECT {sql.placeholders(given)}, p.id, t.now, t.now
FROM {program} p, (SELECT {now} + make_interval(secs => %s) AS now) t
WHERE p.sha256 = %s
RETURNING program_id, created_at
"""  # noqa: S608
    return text, (*types, "double precision", "text")


@lru_cache(maxsize=8)
def _claim(using: str, now: str) -> Statement:
    # CASE and ARRAY, for a plan by the index of what is due and the key whatever the planner
    # knows: it takes a null for rare, and a table that nobody has analysed for small. The limit is
    # selected for the reason of `sql.array_of`.
    connection = connections[using]
    table = sql.table_of(Execution, connection)
    columns = sql.all_names_of(Execution, "e", connection)
    text = f"""
WITH {sql.now_without_fsync(now)},
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
    return text, ("double precision", "bigint", "uuid", "double precision", "bigint")


def _claim_on_sqlite(limit: int, using: str, worker_id: int | None) -> list[Execution]:
    connection = connections[using]
    look, take = _claim_statements(using, clock.NOW["sqlite"])
    shift = f"{clock.offset.total_seconds():+f} seconds"
    with connection.cursor() as cursor:
        # `fetchone` of Django's cursor, not of what `execute` gives: that raises sqlite3's errors.
        cursor.execute(look, [shift])
        if cursor.fetchone() is None:
            return []  # found without a write transaction, of which there is one at a time
        with write(using):
            cursor.execute(take, [shift, limit])
            now, rows = cursor.fetchone()
            claimed = sql.instances(Execution, json.loads(rows), using)
            token, lease_ends = uuid.uuid4(), clock.read(now) + lease()
            changes = [(execution.pk, token, lease_ends, worker_id) for execution in claimed]
            sql.update(Execution, ("claim", "due_at", "worker_id"), changes, using=using)
    for execution in claimed:
        execution.claim, execution.due_at, execution.worker_id = token, lease_ends, worker_id
    return claimed


@lru_cache(maxsize=8)
def _claim_statements(using: str, now: str) -> tuple[str, str]:
    connection = connections[using]
    table = sql.table_of(Execution, connection)
    columns = sql.all_names_of(Execution, "e", connection)
    now = now.replace("%", "%%")
    # In microseconds, as Django writes them: texts are compared.
    shifted = f"strftime('%%Y-%%m-%%d %%H:%%M:%%f000', {now}, %s)"
    due = f"{table} e WHERE due_at <= {shifted} AND claim IS NULL AND faults = 0"
    return (
        f"SELECT 1 FROM {due} LIMIT 1",  # noqa: S608
        # One row: it gives way to other threads at each.
        f"SELECT {now}, json_group_array(json(e)) FROM "  # noqa: S608
        f"(SELECT json_array({columns}) AS e FROM {due} ORDER BY due_at LIMIT %s)",
    )
