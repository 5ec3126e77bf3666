"""SQLite's shortcuts."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import connections, models

from durable_monty import conf
from durable_monty.models import Execution, clock
from durable_monty.operations import sql
from durable_monty.operations.database import Database, Locked, Row
from durable_monty.operations.transactions import write

# SQLite runs inside of the process, where the GIL is all that a statement waits for. Each row that
# it reads or writes gives way to other threads. So many rows go in and come out as one JSON text.


class SQLite(Database):
    def claim_executions(self, limit: int, worker_id: int | None) -> list[Execution]:
        connection = connections[self.using]
        sql_now = clock.sql_now(self.using).replace("%", "%%")
        # In microseconds, as Django writes them: texts are compared.
        shifted = f"strftime('%%Y-%%m-%%d %%H:%%M:%%f000', {sql_now}, %s)"
        due = (
            f"{sql.table_of(Execution, connection)} e "
            f"WHERE due_at <= {shifted} AND claim IS NULL AND faults = 0"
        )
        shift = f"{clock.offset.total_seconds():+f} seconds"
        with connection.cursor() as cursor:
            # `fetchone` of Django's cursor, not of what `execute` returns: that raises sqlite3's
            # errors.
            cursor.execute(f"SELECT 1 FROM {due} LIMIT 1", [shift])
            if cursor.fetchone() is None:
                return []  # found without a write transaction, of which there is one at a time
            with write(self.using):
                columns = sql.all_names_of(Execution, "e", connection)
                cursor.execute(
                    f"SELECT {sql_now}, json_group_array(json(e)) FROM "
                    f"(SELECT json_array({columns}) AS e FROM {due} ORDER BY due_at LIMIT %s)",
                    [shift, limit],
                )
                at, rows = cursor.fetchone()
                claimed = sql.instances(Execution, json.loads(rows), self.using)
                token, now = uuid.uuid4(), clock.read(at)
                lease_ends = now + timedelta(seconds=conf.current().LEASE)
                changes = [(each.pk, token, lease_ends, worker_id) for each in claimed]
                if changes:
                    self.update(Execution, ("claim", "due_at", "worker_id"), changes)
        for execution in claimed:
            execution.claim, execution.due_at, execution.worker_id = token, lease_ends, worker_id
            execution.claimed_at = now
        return claimed

    def insert(
        self,
        model: type[models.Model],
        columns: Sequence[str],
        rows: Sequence[Row],
        constants: Mapping[str, Any],
    ) -> bool:
        connection = connections[self.using]
        names = ", ".join(sql.names_of(model, (*columns, *constants), connection))
        values = ", ".join([*map(_item, range(len(columns))), *["%s"] * len(constants)])
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {sql.table_of(model, connection)} ({names}) "
                f"SELECT {values} FROM json_each(%s)",
                [*sql.adapted(tuple(constants.values()), connection), self._json_of(rows)],
            )
        return True

    def update(
        self, model: type[models.Model], columns: Sequence[str], rows: Sequence[Row]
    ) -> bool:
        connection = connections[self.using]
        table = sql.table_of(model, connection)
        key, *names = sql.names_of(model, ("pk", *columns), connection)
        changes = ", ".join(f"{name} = {_item(i)}" for i, name in enumerate(names, 1))
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {table} SET {changes} FROM json_each(%s) "
                f"WHERE {table}.{key} = {_item(0)}",
                [self._json_of(rows)],
            )
        return True

    def lock(
        self,
        model: type[models.Model],
        columns: Sequence[str],
        keys: Sequence[uuid.UUID] | Sequence[int],
        where: str,
    ) -> Locked:
        # They are only read: the transaction itself keeps other writers out.
        connection = connections[self.using]
        (key,) = sql.names_of(model, ("pk",), connection)
        wanted = (clock.sql_now(self.using).replace("%", "%%"), key, *columns)
        each = ", ".join(f"c{i}" for i in range(len(wanted)))
        named = ", ".join(f"{column} AS c{i}" for i, column in enumerate(wanted))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT json_group_array(json_array({each})) FROM (SELECT {named} "
                f"FROM {sql.table_of(model, connection)} "
                f"WHERE {key} IN ({sql.placeholders(keys)}) AND {where} ORDER BY {key})",
                sql.adapted(keys, connection),
            )
            rows = json.loads(cursor.fetchone()[0])
        return (clock.read(rows[0][0]) if rows else None), [tuple(row[1:]) for row in rows]

    def _json_of(self, rows: Sequence[Row]) -> str:
        connection = connections[self.using]
        return json.dumps([sql.adapted(row, connection) for row in rows], separators=(",", ":"))


def _item(index: int) -> str:
    return f"json_extract(value, '$[{index}]')"
