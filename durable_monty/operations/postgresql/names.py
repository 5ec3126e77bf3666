"""The parts from which statements are made: tables, columns and expressions."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import models

from durable_monty.models import Call, Execution, Program, Snapshot, WorkflowVersion, clock

CALL, EXECUTION, PROGRAM, SNAPSHOT, VERSION = (
    f'"{model._meta.db_table}"' for model in (Call, Execution, Program, Snapshot, WorkflowVersion)
)

# The time. Its value is the offset that tests give the clock.
NOW = f"{clock.SQL_NOW} + make_interval(secs => %s) AS now"

# The time in a statement that does not wait for the disk. A claim or a start that is lost with
# the server's power is made again.
NOW_WITHOUT_FSYNC = f"""t AS MATERIALIZED (
    SELECT {NOW}, set_config('synchronous_commit', 'off', true)
)"""


def columns_of(model: type[models.Model], alias: str) -> str:
    """Returns all columns of a table, for `sql.instances`."""
    return ", ".join(f'{alias}."{field.column}"' for field in model._meta.concrete_fields)


def array_of(kind: str) -> str:
    """Returns a place for a list whose length the planner does not see.

    Where it sees the length, it makes a new plan for each use.
    """
    return f"ARRAY(SELECT unnest(%s::{kind}[]))"


def texts_of(constants: Sequence[str]) -> str:
    """Returns constants of this app, such as statuses, as SQL."""
    return ", ".join(f"'{constant}'" for constant in constants)
