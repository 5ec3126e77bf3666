"""The steps for which a database may have a shortcut."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    from durable_monty.models import Call, Execution
    from durable_monty.operations.answer import ClaimedCall
    from durable_monty.operations.outcomes import Outcome
    from durable_monty.operations.sources import Code
    from durable_monty.operations.transitions import Changes

Row = Sequence[Any]
Locked = tuple[datetime | None, list[tuple[Any, ...]]]


class Database:
    """A database without shortcuts: each step returns None, which means "not done".

    The caller then does it by portable code, which also defines what is right. A shortcut may
    leave out whatever is rare, and does that only for what it names in its result.
    """

    def __init__(self, using: str) -> None:
        self.using = using

    def start(self, execution: Execution, code: Code) -> bool | None:
        """Inserts an execution that is due now, if its program and version are stored."""

    def claim_executions(self, limit: int, worker_id: int | None) -> list[Execution] | None:
        """Claims due executions that no worker has lost, without their programs."""

    def claim_calls(
        self,
        functions: Collection[str],
        executors: Collection[str],
        limit: int,
        worker_id: int | None,
    ) -> list[ClaimedCall] | None:
        """Claims due calls that nobody has claimed before, longest due first."""

    def start_attempts(self, claims: Sequence[ClaimedCall]) -> list[Call] | None:
        """Starts attempts, and returns the calls that were started."""

    def settle(self, results: Sequence[tuple[ClaimedCall, str]]) -> set[int] | None:
        """Records results and wakes their executions. Returns the keys of the calls."""

    def commit(self, outcomes: Sequence[Outcome]) -> Changes | None:
        """Writes turns, and returns what has changed of each execution that was written."""

    def insert(
        self,
        model: type[models.Model],
        columns: Sequence[str],
        rows: Sequence[Row],
        constants: Mapping[str, Any],
    ) -> bool | None:
        """Inserts rows in one step."""

    def update(
        self, model: type[models.Model], columns: Sequence[str], rows: Sequence[Row]
    ) -> bool | None:
        """Updates rows, each of which begins with its primary key, in one step."""

    def lock(
        self,
        model: type[models.Model],
        columns: Sequence[str],
        keys: Sequence[uuid.UUID] | Sequence[int],
        where: str,
    ) -> Locked | None:
        """Locks rows and reads columns of them in one step."""
