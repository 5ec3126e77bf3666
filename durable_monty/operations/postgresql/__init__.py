"""PostgreSQL's shortcuts. They only save time: who reads the operations may skip this folder."""

from __future__ import annotations

from durable_monty.operations.database import Database
from durable_monty.operations.postgresql import calls, commit, executions, rows


class PostgreSQL(Database):
    start = executions.start
    claim_executions = executions.claim
    claim_calls = calls.claim
    start_attempts = calls.start
    settle = calls.settle
    commit = commit.commit
    insert = rows.copy
    update = rows.update
