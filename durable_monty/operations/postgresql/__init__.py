"""PostgreSQL's shortcuts. They only save time: who reads the operations may skip this folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.db import models

from durable_monty.models import Call, Execution
from durable_monty.operations.answer import ClaimedCall
from durable_monty.operations.database import Database, Row
from durable_monty.operations.outcomes import Outcome
from durable_monty.operations.postgresql import calls, commit, executions, rows
from durable_monty.operations.transitions import Changes


class PostgreSQL(Database):
    def start(self, execution: Execution, sha256: str) -> bool:
        return executions.start(execution, sha256, self.using)

    def claim_executions(self, limit: int, worker_id: int | None) -> list[Execution]:
        return executions.claim(limit, worker_id, self.using)

    def claim_calls(
        self,
        functions: Collection[str],
        executors: Collection[str],
        limit: int,
        worker_id: int | None,
    ) -> list[ClaimedCall]:
        return calls.claim(functions, executors, limit, worker_id, self.using)

    def start_attempts(self, claims: Sequence[ClaimedCall]) -> list[Call]:
        return calls.start(claims, self.using)

    def settle(self, results: Sequence[tuple[ClaimedCall, str]]) -> set[int]:
        return calls.settle(results, self.using)

    def commit(self, outcomes: Sequence[Outcome]) -> Changes:
        return commit.commit(outcomes, self.using)

    def insert(
        self,
        model: type[models.Model],
        columns: Sequence[str],
        rows_: Sequence[Row],
        constants: Mapping[str, Any],
    ) -> bool | None:
        return rows.copy(model, columns, rows_, constants, self.using)

    def update(
        self, model: type[models.Model], columns: Sequence[str], rows_: Sequence[Row]
    ) -> bool:
        return rows.update(model, columns, rows_, self.using)
